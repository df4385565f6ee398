import { Injectable } from '@nestjs/common';
import { trace } from '@opentelemetry/api';
import { FootprintRemovalRefused, FootprintRemoved, InstanceTerminated } from '#contracts/index.js';
import { Outbox, type PublishContext } from '#messaging/index.js';
import { forget, inSpan } from '#observability/index.js';
import type { Lease, Outcome } from '#persistence/index.js';
import { type Footprint, isToBeFilled, removedAs } from '../domain/footprint.js';
import { nextRemoval, type Removal } from '../domain/next-removal.js';
import { snapshotsMayBe } from '../domain/removal-request.js';
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
    if (isToBeFilled(footprint) && (await this.cluster.observe(footprint)).routed)
      return await this.leaveAlone(lease, footprint);
    let acted = false;
    while (!lease.signal.aborted) {
      const [cluster, shard] = await Promise.all([this.cluster.remains(footprint), this.shards.remains(footprint)]);
      const removal = nextRemoval({ cluster, shard, snapshots: snapshotsMayBe(footprint) });
      if (!removal) return await this.announceRemoved(lease, footprint);
      if (removal.kind === 'wait') return await this.wait(lease, footprint, removal, acted);
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

  /** Noted once per reason. */
  private async wait(
    lease: Lease,
    footprint: Footprint,
    { reason, message }: { readonly reason: string; readonly message: string },
    acted: boolean,
  ): Promise<Outcome> {
    const span = trace.getActiveSpan();
    if (span && !acted) forget(span); // it looks again each second
    if (footprint.condition?.reason !== reason)
      await this.asRemoving(lease, footprint, 'note', async (ctx, current) => {
        const condition = { reason, message, since: new Date().toISOString(), fault: 'platform' } as const;
        await this.footprints.save(ctx, { ...current, condition });
      });
    return { again: lookAgainMs };
  }

  /**
   * Lifecycle may have switched an instance to it, and nobody here has heard of that yet: where a host leads, somebody
   * lives. Nothing has been touched.
   */
  private async leaveAlone(lease: Lease, footprint: Footprint): Promise<Outcome> {
    const { footprintId } = footprint;
    await this.asRemoving(lease, footprint, 'progress', async (ctx, current) => {
      await this.footprints.save(ctx, { ...current, state: 'standing', approval: null, condition: null });
      for (const requestId of current.approval?.requests ?? [])
        await this.because(ctx, current, requestId).publish(FootprintRemovalRefused, {
          requestId,
          footprintId,
          code: 'IN_USE',
          fault: 'platform',
          message: 'a host leads to it: it was left alone',
        });
    });
    return 'done';
  }

  private async announceRemoved(lease: Lease, footprint: Footprint): Promise<Outcome> {
    const { instanceId, footprintId, approval } = footprint;
    const approvalId = approval?.approvalId;
    if (instanceId && approvalId && (await this.footprints.hasOthers(instanceId, footprintId)))
      return await this.wait(lease, footprint, othersRemain, true);
    await this.asRemoving(lease, footprint, 'progress', async (ctx, current) => {
      await this.footprints.save(ctx, { ...current, state: 'removed', condition: null });
      for (const requestId of current.approval?.requests ?? [])
        await this.because(ctx, current, requestId).publish(FootprintRemoved, {
          footprintId,
          purpose: removedAs(current),
        });
      if (instanceId && approvalId)
        await ctx.publish(InstanceTerminated, {
          instanceId,
          approvalId: current.approval!.approvalId!,
          removed: ['deployment', 'service', 'route', 'database', 'role', 'volume', 'secret'],
        });
    });
    return 'done';
  }

  /** In answer to this request, which it may not have been that began it. */
  private because(ctx: PublishContext, { traceparent, correlationId }: Footprint, requestId: string): PublishContext {
    return this.outbox.within(ctx, { traceparent: traceparent ?? undefined, correlationId, causationId: requestId });
  }

  /** Writes only while the lease is held and the footprint is still being removed. */
  private async asRemoving(
    lease: Lease,
    { footprintId, traceparent, correlationId }: Footprint,
    what: 'progress' | 'note',
    work: (ctx: PublishContext, current: Footprint) => Promise<void>,
  ): Promise<void> {
    await this.outbox.transaction({ traceparent: traceparent ?? undefined, correlationId }, async (ctx) => {
      await lease.hold(ctx, what);
      const current = await this.footprints.lock(ctx, footprintId);
      if (current?.state === 'removing') await work(ctx, current);
    });
  }
}

const othersRemain = {
  reason: 'OtherFootprintRemains',
  message: 'a footprint that the instance was switched away from is not removed yet',
};
