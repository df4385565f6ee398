import { Injectable, type OnApplicationBootstrap, type OnApplicationShutdown } from '@nestjs/common';
import { Log } from '#observability/index.js';
import { footprintNames } from '#odoo/index.js';
import { isUnavailable } from '#persistence/index.js';
import {
  cloneTemplate,
  dropTenant,
  ensureTenantRole,
  listTemplates,
  missingPreparation,
  observeTenant,
  personalise,
  Shard,
  type Template,
  type Tenant,
  TenantDatabaseError,
  uuidOf,
} from '#tenant-databases/index.js';
import { type Fence, Obstacle, type OnShard, ProvisionerSettings, TenantShards } from '../application/ports.js';
import { type Footprint, orderOf, planOf } from '../domain/footprint.js';

/** The shards this provisioner was told of, by name. */
@Injectable()
export class PostgresShards extends TenantShards implements OnApplicationBootstrap, OnApplicationShutdown {
  private readonly shards: ReadonlyMap<string, Shard>;
  /**
   * Of footprints that were personalised here and are not Ready yet: a session in a new database is the dearest thing a
   * shard is asked for, and this saves one. Whoever does not find it here looks there.
   */
  private readonly uuids = new Map<string, string>();
  private readonly prepared = new Set<string>();

  constructor(
    private readonly settings: ProvisionerSettings,
    private readonly log: Log,
  ) {
    super();
    this.shards = new Map(
      settings.shards.map(({ name, url }) => [name, new Shard(name, url, settings.meshName)] as const),
    );
  }

  /** Says at once what would else be said when somebody waits. A shard that is away now is looked at when it is needed. */
  onApplicationBootstrap(): void {
    for (const shard of this.shards.values())
      this.expectPrepared(shard).catch((error) =>
        this.log.warn('a shard is not prepared, or cannot be asked', { shard: shard.name, error }),
      );
  }

  async observe(footprint: Footprint): Promise<OnShard> {
    return await this.on(footprint, (shard) => observeTenant(shard, this.tenantOf(footprint)));
  }

  async ensureRole(footprint: Footprint, password: string, fence: Fence): Promise<void> {
    await this.on(footprint, (shard) => this.expectPrepared(shard));
    const { databaseConnections: connectionLimit } = planOf(footprint);
    await this.on(footprint, (shard) =>
      ensureTenantRole(shard, this.tenantOf(footprint), { password, connectionLimit }, fence),
    );
  }

  async copyTemplate(footprint: Footprint, fence: Fence): Promise<void> {
    const { database } = footprint.placed.template;
    await this.on(footprint, (shard) => cloneTemplate(shard, this.tenantOf(footprint), database, fence));
  }

  async personalise(footprint: Footprint, fence: Fence): Promise<void> {
    const { specification, host } = orderOf(footprint);
    const { company, adminLogin, adminPasswordHash, language, country } = specification;
    const baseUrl = this.settings.urlOf(host);
    const customer = { baseUrl, company, adminLogin, adminPasswordHash, language, country: country ?? undefined };
    const uuid = await this.on(footprint, (shard) => personalise(shard, this.tenantOf(footprint), customer, fence));
    this.uuids.set(footprint.footprintId, uuid);
  }

  async uuidOf(footprint: Footprint): Promise<string> {
    const known = this.uuids.get(footprint.footprintId);
    this.uuids.delete(footprint.footprintId);
    return known ?? (await this.on(footprint, (shard) => uuidOf(shard, this.tenantOf(footprint))));
  }

  async remove(footprint: Footprint, fence: Fence): Promise<void> {
    await this.on(footprint, (shard) => dropTenant(shard, this.tenantOf(footprint), fence));
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

  /** Looked at until it was right once; who takes rights away later is not what is looked for. */
  private async expectPrepared(shard: Shard): Promise<void> {
    if (this.prepared.has(shard.name)) return;
    const missing = await missingPreparation(shard);
    if (missing.length > 0)
      throw new TenantDatabaseError(
        'SHARD_NOT_PREPARED',
        `${missing.join('; ')}: an administrator has to prepare it again`,
        true,
      );
    this.prepared.add(shard.name);
  }

  private async on<T>(footprint: Footprint, work: (shard: Shard) => Promise<T>): Promise<T> {
    const shard = this.shardOf(footprint);
    try {
      return await work(shard);
    } catch (error) {
      const reason = reasonOf(error);
      if (!reason) throw error;
      throw new Obstacle(reason, `database shard ${shard.name}: ${(error as Error).message}`, { cause: error });
    }
  }

  private shardOf({ placed }: Footprint): Shard {
    const shard = this.shards.get(placed.databaseShard);
    if (!shard) throw new Obstacle('SHARD_UNKNOWN', `database shard ${placed.databaseShard} is not in MESH_SHARD_URLS`);
    return shard;
  }

  private tenantOf({ footprintId, epoch }: Footprint): Tenant {
    return { name: footprintNames(this.settings.meshName, footprintId).database, footprintId, epoch };
  }
}

const ofSqlState: Readonly<Record<string, string>> = {
  '28000': 'SHARD_REFUSES_LOGIN',
  '28P01': 'SHARD_REFUSES_LOGIN',
  '42501': 'SHARD_FORBIDS',
  '53100': 'SHARD_DISK_FULL',
};

function reasonOf(error: unknown): string | undefined {
  if (error instanceof TenantDatabaseError) return error.code;
  return (
    ofSqlState[(error as { code?: string }).code ?? ''] ?? (isUnavailable(error) ? 'SHARD_UNAVAILABLE' : undefined)
  );
}
