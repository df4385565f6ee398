import { Injectable, type OnApplicationShutdown } from '@nestjs/common';
import { Shards } from '#footprints/index.js';
import { footprintNames } from '#odoo/index.js';
import {
  connectionsOf,
  copyTenantDatabase,
  databaseBytes,
  dropTenantDatabase,
  fenceTenant,
  filestoreBytes,
  setBaseUrl,
  setTenantConnectionLimit,
  shardBytes,
  type Tenant,
} from '#tenant-databases/index.js';
import { type Fence, LifecycleSettings, type ShardRoom, TenantShards } from '../application/ports.js';
import { type Instance, placeOf } from '../domain/instance.js';

@Injectable()
export class PostgresShards extends TenantShards implements OnApplicationShutdown {
  private readonly shards: Shards;

  constructor(private readonly settings: LifecycleSettings) {
    super();
    this.shards = new Shards(settings.shards, settings.meshName);
  }

  async limitConnections(instance: Instance, connections: number, fence: Fence): Promise<void> {
    await this.shards.on(placeOf(instance).databaseShard, (shard) =>
      setTenantConnectionLimit(shard, this.tenantOf(instance), connections, fence),
    );
  }

  async fence(instance: Instance, password: string, fence: Fence): Promise<void> {
    await this.shards.on(placeOf(instance).databaseShard, (shard) =>
      fenceTenant(shard, this.tenantOf(instance), password, fence),
    );
  }

  async copyDatabase(instance: Instance, from: string, fence: Fence): Promise<void> {
    const to = instance.live.database;
    await this.shards.on(placeOf(instance).databaseShard, (shard) =>
      copyTenantDatabase(shard, this.tenantOf(instance), { from, to }, fence),
    );
  }

  async dropDatabase(instance: Instance, database: string, fence: Fence): Promise<void> {
    if (database === instance.live.database) throw new Error(`${database} is the live database: it is not dropped`);
    await this.shards.on(placeOf(instance).databaseShard, (shard) =>
      dropTenantDatabase(shard, this.tenantOf(instance), database, fence),
    );
  }

  async setBaseUrl(instance: Instance, fence: Fence, password?: string): Promise<void> {
    const { database, host } = instance.live;
    const url = this.settings.urlOf(host);
    await this.shards.on(placeOf(instance).databaseShard, (shard) =>
      setBaseUrl(shard, this.tenantOf(instance), database, url, fence, password),
    );
  }

  async lookForRoom(instance: Instance): Promise<ShardRoom> {
    const { databaseShard } = placeOf(instance);
    const { database } = instance.live;
    const bytes = this.settings.shardDisks[databaseShard];
    return await this.shards.on(databaseShard, async (shard) => {
      const [connections, taken, filesBytes, takenBytes] = await Promise.all([
        connectionsOf(shard, this.tenantOf(instance).name),
        databaseBytes(shard, database),
        filestoreBytes(shard, database),
        bytes === undefined ? undefined : shardBytes(shard),
      ]);
      const disk = bytes === undefined || takenBytes === undefined ? undefined : { bytes, takenBytes };
      return { name: shard.name, databaseBytes: taken, disk, connections, filesBytes };
    });
  }

  addressOf(instance: Instance): { readonly host: string; readonly port: number } {
    return this.shards.named(placeOf(instance).databaseShard).address;
  }

  async onApplicationShutdown(): Promise<void> {
    await this.shards.close();
  }

  private tenantOf({ live, epoch }: Instance): Tenant {
    return {
      name: footprintNames(this.settings.meshName, live.footprintId).role,
      footprintId: live.footprintId,
      epoch,
    };
  }
}
