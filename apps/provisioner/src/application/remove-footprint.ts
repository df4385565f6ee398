import { Injectable } from '@nestjs/common';
import { trace } from '@opentelemetry/api';
import { FootprintRemoved, InstanceTerminated } from '#contracts/index.js';
import { Outbox } from '#messaging/index.js';
import { forget, inSpan } from '#observability/index.js';
import type { Lease, Outcome } from '#persistence/index.js';
import type { Footprint } from '../domain/footprint.js';
import { nextRemoval, type Removal } from '../domain/next-removal.js';
import { Cluster, Footprints, TenantShards } from './ports.js';

const lookAgainMs = 1_000;

/** Destroys a footprint whose removal was approved, in an order that never leaves a writer without its data. */
@Injectable()
export class RemoveFootprint {
  constructor(
    private readonly footprints: Footprints,
    private readonly cluster: Cluster,
    private readonly shards: TenantShards,
    private readonly outbox: Outbox,
  ) {}

  async reconcile(lease: Lease, footprint: Footprint): Promise<Outcome> {
    this.cluster.watch(footprint.placed.namespace);
    let acted = false;
    while (!lease.signal.aborted) {
      const [cluster, shard] = await Promise.all([this.cluster.remains(footprint), this.shards.remains(footprint)]);
      const removal = nextRemoval({ cluster, shard });
      if (!removal) return await this.announceRemoved(lease, footprint);
      if (removal.kind === 'wait') {
        const span = trace.getActiveSpan();
        if (span && !acted) forget(span); // it looks again each second
        return { again: lookAgainMs };
      }
      await inSpan(`remove ${removal.what}`, {}, () => this.take(lease, footprint, removal.what));
      acted = true;
      if (removal.what === 'volume') return { again: lookAgainMs };
    }
    return { again: 0 };
  }

  private async take(
    lease: Lease,
    footprint: Footprint,
    what: Extract<Removal, { kind: 'act' }>['what'],
  ): Promise<void> {
    await lease.check();
    if (what === 'workload') await this.cluster.removeWorkload(footprint, lease.fence);
    if (what === 'database') await this.shards.remove(footprint, lease.fence);
    if (what === 'volume') await this.cluster.removeVolume(footprint, lease.fence);
  }

  private async announceRemoved(lease: Lease, footprint: Footprint): Promise<Outcome> {
    const { instanceId, footprintId, traceparent, correlationId, approval } = footprint;
    await this.outbox.transaction({ traceparent: traceparent ?? undefined, correlationId }, async (ctx) => {
      await lease.hold(ctx);
      const current = await this.footprints.lock(ctx, footprintId);
      if (current?.state !== 'removing') return;
      await this.footprints.save(ctx, { ...current, state: 'removed' });
      if (!instanceId) return void (await ctx.publish(FootprintRemoved, { footprintId, purpose: 'spare' }));
      await ctx.publish(InstanceTerminated, {
        instanceId,
        approvalId: approval!.approvalId,
        removed: ['deployment', 'service', 'route', 'database', 'role', 'volume', 'secret'],
      });
    });
    return 'done';
  }
}
