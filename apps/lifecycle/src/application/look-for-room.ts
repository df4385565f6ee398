import { Injectable } from '@nestjs/common';
import { inSpan } from '#observability/index.js';
import { type Instance, planOf } from '../domain/instance.js';
import { type Check, checksOf } from '../domain/preflight.js';
import { Cluster, TenantShards } from './ports.js';

/**
 * Whether there is room for an upgrade, in one look, before anything is asked of others or changed. Throws what cluster and
 * shard throw: what could not be looked at is no room.
 */
@Injectable()
export class LookForRoom {
  constructor(
    private readonly cluster: Cluster,
    private readonly shards: TenantShards,
  ) {}

  async look(instance: Instance): Promise<readonly Check[]> {
    return await inSpan('look for room', {}, async () => {
      const [{ volume, ...cell }, { filesBytes, ...shard }] = await Promise.all([
        this.cluster.lookForRoom(instance),
        this.shards.lookForRoom(instance),
      ]);
      return checksOf({ ...cell, volume: { ...volume, filesBytes }, shard }, planOf(instance.live.plan));
    });
  }
}
