import { Injectable, type OnApplicationBootstrap, type OnApplicationShutdown } from '@nestjs/common';
import { Shards } from '#footprints/index.js';
import { Log } from '#observability/index.js';
import { footprintNames } from '#odoo/index.js';
import {
  cloneTemplate,
  dropTenant,
  ensureTenantRole,
  listTemplates,
  makeEmptyDatabase,
  observeTenant,
  personalise,
  remainsOfTenant,
  type Shard,
  settleFilled,
  type Template,
  type Tenant,
  uuidOf,
  uuidOfFilled,
} from '#tenant-databases/index.js';
import { type Fence, type OnShard, ProvisionerSettings, TenantShards } from '../application/ports.js';
import { type Footprint, orderOf, planOf } from '../domain/footprint.js';
import type { Remains } from '../domain/next-removal.js';

/** The shards this provisioner was told of, by name. */
@Injectable()
export class PostgresShards extends TenantShards implements OnApplicationBootstrap, OnApplicationShutdown {
  private readonly shards: Shards;
  /**
   * Of footprints that were personalised here and are not Ready yet: a session in a new database is the dearest thing a
   * shard is asked for, and this saves one. Whoever does not find it here looks there.
   */
  private readonly uuids = new Map<string, string>();

  constructor(
    private readonly settings: ProvisionerSettings,
    private readonly log: Log,
  ) {
    super();
    this.shards = new Shards(settings.shards, settings.meshName);
  }

  /** Says at once what would else be said when somebody waits. A shard that is away now is looked at when it is needed. */
  onApplicationBootstrap(): void {
    for (const shard of this.shards.all)
      this.shards
        .expectPrepared(shard)
        .catch((error) => this.log.warn('a shard is not prepared, or cannot be asked', { shard: shard.name, error }));
  }

  async observe(footprint: Footprint): Promise<OnShard> {
    return await this.on(footprint, (shard) => observeTenant(shard, this.tenantOf(footprint)));
  }

  async ensureRole(footprint: Footprint, password: string, fence: Fence): Promise<void> {
    await this.on(footprint, (shard) => this.shards.expectPrepared(shard));
    const { databaseConnections: connectionLimit } = planOf(footprint);
    await this.on(footprint, (shard) =>
      ensureTenantRole(shard, this.tenantOf(footprint), { password, connectionLimit }, fence),
    );
  }

  async copyTemplate(footprint: Footprint, fence: Fence): Promise<void> {
    const { database } = footprint.placed.template;
    await this.on(footprint, (shard) => cloneTemplate(shard, this.tenantOf(footprint), database, fence));
  }

  async makeEmpty(footprint: Footprint, fence: Fence): Promise<void> {
    await this.on(footprint, (shard) => makeEmptyDatabase(shard, this.tenantOf(footprint), fence));
  }

  async giveAddress(footprint: Footprint, password: string, fence: Fence): Promise<void> {
    const url = this.settings.urlOf(orderOf(footprint).host);
    await this.on(footprint, (shard) => settleFilled(shard, this.tenantOf(footprint), password, url, fence));
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

  async uuidOfFilled(footprint: Footprint, password: string): Promise<string> {
    return await this.on(footprint, (shard) => uuidOfFilled(shard, this.tenantOf(footprint), password));
  }

  async remains(footprint: Footprint): Promise<Remains['shard']> {
    const named = databasesNamed(footprint);
    const { role, databases } = await this.on(footprint, (shard) =>
      remainsOfTenant(shard, this.tenantOf(footprint), named),
    );
    return { role, database: databases.length > 0 };
  }

  async remove(footprint: Footprint, fence: Fence): Promise<void> {
    const named = databasesNamed(footprint);
    await this.on(footprint, (shard) => dropTenant(shard, this.tenantOf(footprint), fence, named));
  }

  async templates(): Promise<{ readonly databaseShard: string; readonly template: Template }[]> {
    const found = await Promise.all(
      this.shards.all.map(async (shard) =>
        (await listTemplates(shard)).map((template) => ({ databaseShard: shard.name, template })),
      ),
    );
    return found.flat();
  }

  addressOf(footprint: Footprint): { readonly host: string; readonly port: number } {
    return this.shards.named(footprint.placed.databaseShard).address;
  }

  async onApplicationShutdown(): Promise<void> {
    await this.shards.close();
  }

  private async on<T>({ placed }: Footprint, work: (shard: Shard) => Promise<T>): Promise<T> {
    return await this.shards.on(placed.databaseShard, work);
  }

  private tenantOf({ footprintId, epoch }: Footprint): Tenant {
    return { name: footprintNames(this.settings.meshName, footprintId).database, footprintId, epoch };
  }
}

/** What has to be this footprint's. One that failed because a stranger has its name is removed beside that. */
function databasesNamed({ approval }: Footprint): string[] {
  return approval?.database ? [approval.database] : [];
}
