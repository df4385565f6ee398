import { Injectable, type OnApplicationShutdown } from '@nestjs/common';
import { footprintNames } from '#odoo/index.js';
import {
  cloneTemplate,
  dropTenant,
  ensureTenantRole,
  listTemplates,
  observeTenant,
  personalise,
  Shard,
  type Template,
  type Tenant,
  uuidOf,
} from '#tenant-databases/index.js';
import { type Fence, type OnShard, ProvisionerSettings, TenantShards } from '../application/ports.js';
import { type Footprint, planOf } from '../domain/footprint.js';

/** The shards this provisioner was told of, by name. */
@Injectable()
export class PostgresShards extends TenantShards implements OnApplicationShutdown {
  private readonly shards: ReadonlyMap<string, Shard>;
  /**
   * Of footprints that were personalised here and are not Ready yet: a session in a new database is the dearest thing a
   * shard is asked for, and this saves one. Whoever does not find it here looks there.
   */
  private readonly uuids = new Map<string, string>();

  constructor(private readonly settings: ProvisionerSettings) {
    super();
    this.shards = new Map(
      settings.shards.map(({ name, url }) => [name, new Shard(name, url, settings.meshName)] as const),
    );
  }

  async observe(footprint: Footprint): Promise<OnShard> {
    return await observeTenant(this.shardOf(footprint), this.tenantOf(footprint));
  }

  async ensureRole(footprint: Footprint, password: string, fence: Fence): Promise<void> {
    const { databaseConnections: connectionLimit } = planOf(footprint);
    await ensureTenantRole(this.shardOf(footprint), this.tenantOf(footprint), { password, connectionLimit }, fence);
  }

  async copyTemplate(footprint: Footprint, fence: Fence): Promise<void> {
    await cloneTemplate(this.shardOf(footprint), this.tenantOf(footprint), footprint.placed.template.database, fence);
  }

  async personalise(footprint: Footprint, fence: Fence): Promise<void> {
    const { specification, host } = footprint.placed;
    const { company, adminLogin, adminPasswordHash, language, country } = specification;
    const uuid = await personalise(
      this.shardOf(footprint),
      this.tenantOf(footprint),
      {
        baseUrl: `${this.settings.urlScheme}://${host}`,
        company,
        adminLogin,
        adminPasswordHash,
        language,
        country: country ?? undefined,
      },
      fence,
    );
    this.uuids.set(footprint.footprintId, uuid);
  }

  async uuidOf(footprint: Footprint): Promise<string> {
    const known = this.uuids.get(footprint.footprintId);
    this.uuids.delete(footprint.footprintId);
    return known ?? (await uuidOf(this.shardOf(footprint), this.tenantOf(footprint)));
  }

  async remove(footprint: Footprint, fence: Fence): Promise<void> {
    await dropTenant(this.shardOf(footprint), this.tenantOf(footprint), fence);
  }

  async templates(): Promise<{ readonly databaseShard: string; readonly template: Template }[]> {
    const found = await Promise.all(
      [...this.shards.values()].map(async (shard) =>
        (await listTemplates(shard)).map((template) => ({ databaseShard: shard.name, template })),
      ),
    );
    return found.flat();
  }

  addressOf(footprint: Footprint): { readonly host: string; readonly port: number } {
    return this.shardOf(footprint).address;
  }

  async onApplicationShutdown(): Promise<void> {
    await Promise.all([...this.shards.values()].map((shard) => shard.close()));
  }

  private shardOf({ placed }: Footprint): Shard {
    const shard = this.shards.get(placed.databaseShard);
    if (!shard) throw new Error(`database shard ${placed.databaseShard} is not configured here: see MESH_SHARD_URLS`);
    return shard;
  }

  private tenantOf({ footprintId, epoch }: Footprint): Tenant {
    return { name: footprintNames(this.settings.meshName, footprintId).database, footprintId, epoch };
  }
}
