import { Injectable } from '@nestjs/common';
import {
  BackupRequested,
  FootprintRemovalRequested,
  HostReleaseRequested,
  InstancePurgeApproved,
  newId,
} from '#contracts/index.js';
import { timeSpentAtFirst } from '#footprints/deadline.js';
import { Obstacle } from '#footprints/index.js';
import { Conflict } from '#kubernetes/index.js';
import { Outbox, type PublishContext } from '#messaging/index.js';
import { footprintNames } from '#odoo/index.js';
import type { Lease, Outcome } from '#persistence/index.js';
import {
  type FormerFootprint,
  type FormerHost,
  type Instance,
  type Live,
  placeOf,
  withoutFormerHost,
} from '../domain/instance.js';
import { moved } from '../domain/moving.js';
import type { Operation } from '../domain/operation.js';
import { EndOperation } from './end-operation.js';
import { Cluster, Instances, LifecycleSettings, Operations, TenantShards } from './ports.js';

/** How long an approval is good; the provisioner hears it within seconds. */
const approvalMs = 15 * 60_000;

/** While nothing is under way: what has its date is seen to. */
@Injectable()
export class SeeToDates {
  constructor(
    private readonly instances: Instances,
    private readonly operations: Operations,
    private readonly cluster: Cluster,
    private readonly shards: TenantShards,
    private readonly end: EndOperation,
    private readonly outbox: Outbox,
    private readonly settings: LifecycleSettings,
  ) {}

  async see(lease: Lease, instance: Instance, open: readonly Operation[]): Promise<Outcome | 'look again'> {
    const { quiesce, state } = instance;
    if (quiesce) {
      const leftMs = Date.parse(quiesce.deadline) - Date.now();
      if (leftMs > 0) return { again: Math.min(leftMs, 3_600_000) };
      await this.releaseByItself(lease, instance);
      return 'look again';
    }
    const formerFootprints = await this.untilLeft(lease, instance, state === 'terminated');
    if (state === 'terminated') return formerFootprints;
    if (state === 'terminating' && open.length === 0)
      return soonest(formerFootprints, await this.untilPurge(lease, instance));
    if (state === 'purging') return await this.untilGone(lease, instance);
    const [former] = instance.live.formerHosts ?? [];
    return soonest(
      formerFootprints,
      instance.kept ? await this.untilDropped(lease, instance, instance.kept.until) : 'done',
      former ? await this.untilGivenUp(lease, instance, former) : 'done',
    );
  }

  /** The footprints that it lived in before, when their time is over; or all of them at once, because it ends itself. */
  private async untilLeft(lease: Lease, instance: Instance, atOnce: boolean): Promise<Outcome | 'look again'> {
    let next: Outcome | 'look again' = 'done';
    for (const former of instance.formerFootprints)
      next = soonest(next, await this.untilRemoved(lease, instance, former, atOnce));
    return next;
  }

  /** Its databases bear its mark, and its Secrets only lifecycle knows; the provisioner removes it, and says when nothing is left. */
  private async untilRemoved(
    lease: Lease,
    instance: Instance,
    { live, kept, until, removal }: FormerFootprint,
    atOnce: boolean,
  ): Promise<Outcome | 'look again'> {
    // Its fact hurries us.
    if (removal === 'asked') return 'done';
    const leftMs = atOnce && removal === null ? 0 : Date.parse(until) - Date.now();
    if (leftMs > 0) return { again: Math.min(leftMs, 3_600_000) };
    await lease.check();
    if (kept) await this.shards.dropDatabase({ ...instance, live }, kept.database, lease.fence);
    await this.asInstance(lease, instance.instanceId, async (ctx, current) => {
      const { footprintId } = live;
      const one = current.formerFootprints.find((former) => former.live.footprintId === footprintId);
      if (!one || one.removal === 'asked') return;
      const changed = {
        ...current,
        formerFootprints: current.formerFootprints.map((former) =>
          former === one ? { ...former, kept: null, removal: 'asked' as const } : former,
        ),
      };
      await this.instances.save(ctx, changed);
      const reason = 'its instance lives in another one, and the time in which it could be had back is over';
      const secrets = this.secretsOf(one.live);
      await ctx.publish(FootprintRemovalRequested, { footprintId, reason, secrets });
      await this.end.tellState(ctx, changed);
    });
    return 'look again';
  }

  /** Of the newest versions; older ones are dropped by then. */
  private secretsOf({ footprintId, lastSecretVersion }: Live): string[] {
    return Array.from(
      { length: Math.min(lastSecretVersion, 16) },
      (_, at) => footprintNames(this.settings.meshName, footprintId, lastSecretVersion - at).secret,
    );
  }

  /** Its time has run out: the token is dead, and the instance runs again. */
  private async releaseByItself(lease: Lease, { instanceId, quiesce }: Instance): Promise<void> {
    const { token, operationId } = quiesce!;
    await this.asInstance(lease, instanceId, async (ctx, instance) => {
      if (instance.quiesce?.token !== token) return;
      const now = new Date();
      const asked = await this.operations.get(ctx, operationId);
      await this.operations.save(ctx, {
        operationId: newId(),
        instanceId,
        kind: 'release',
        input: { token, expired: true },
        requestedBy: 'lifecycle',
        reason: 'its deadline has passed',
        acceptedAt: now,
        status: 'waiting',
        mergedInto: null,
        urgent: true,
        stage: 0,
        startedAt: null,
        progress: {},
        condition: null,
        traceparent: asked?.traceparent ?? null,
        correlationId: asked?.correlationId ?? operationId,
        ...timeSpentAtFirst(now),
      });
    });
  }

  /** Destroyed after its date, and never without a backup that was verified off-site. */
  private async untilPurge(lease: Lease, instance: Instance): Promise<Outcome | 'look again'> {
    const { instanceId, termination, everReady } = instance;
    if (!everReady) return 'done';
    const { purgeNotBefore, finalBackupId, verifiedBackupId } = termination!;
    if (!finalBackupId) {
      await this.askForFinalBackup(lease, instanceId);
      return 'look again';
    }
    // Its fact hurries us.
    if (!verifiedBackupId) return { again: 3_600_000 };
    const leftMs = Date.parse(purgeNotBefore) - Date.now();
    if (leftMs > 0) return { again: Math.min(leftMs, 3_600_000) };
    // An approval names the live one alone.
    if (instance.formerFootprints.length > 0) return await this.untilLeft(lease, instance, true);
    if (instance.kept) return await this.untilDropped(lease, instance, purgeNotBefore);
    await this.asInstance(lease, instanceId, async (ctx, current) => {
      const open = await this.operations.open(ctx, instanceId);
      // Whoever wants to keep it was quicker.
      if (current.state !== 'terminating' || open.length > 0) return;
      const { verifiedBackupId: verified, purgeNotBefore: date } = current.termination!;
      if (!verified || Date.parse(date) > Date.now() || current.formerFootprints.length > 0) return;
      await this.approve(ctx, moved(current, 'purge approved', 'approved'));
    });
    return 'look again';
  }

  private async askForFinalBackup(lease: Lease, instanceId: string): Promise<void> {
    await this.asInstance(lease, instanceId, async (ctx, instance) => {
      if (instance.state !== 'terminating' || instance.termination?.finalBackupId) return;
      const backupId = newId();
      await ctx.publish(BackupRequested, { instanceId, backupId, why: 'final' });
      const termination = { ...instance.termination!, finalBackupId: backupId };
      await this.instances.save(ctx, { ...instance, termination });
    });
  }

  /** From here on there is no way back. */
  private async approve(ctx: PublishContext, instance: Instance): Promise<void> {
    const { instanceId, live, termination } = instance;
    const { cell, databaseShard } = placeOf(instance);
    const approval = { approvalId: newId(), expiresAt: new Date(Date.now() + approvalMs).toISOString() };
    const purging = { ...instance, termination: { ...termination!, approval } };
    await this.instances.save(ctx, purging);
    await ctx.publish(InstancePurgeApproved, {
      instanceId,
      footprintId: live.footprintId,
      cell,
      databaseShard,
      database: live.database,
      backupId: termination!.verifiedBackupId!,
      secrets: this.secretsOf(live),
      ...approval,
    });
    await this.end.tellState(ctx, purging);
  }

  /** An approval that ran out before anybody acted on it is given again. */
  private async untilGone(
    lease: Lease,
    { instanceId, termination, everReady }: Instance,
  ): Promise<Outcome | 'look again'> {
    if (!everReady || !termination?.approval) return 'done';
    const leftMs = Date.parse(termination.approval.expiresAt) - Date.now();
    if (leftMs > 0) return { again: leftMs };
    await this.asInstance(lease, instanceId, async (ctx, instance) => {
      if (instance.state === 'purging') await this.approve(ctx, instance);
    });
    return 'look again';
  }

  /** What was before an upgrade is dropped when its time is over: the upgraded database is a copy of it, and a backup is there. */
  private async untilDropped(lease: Lease, instance: Instance, date: string): Promise<Outcome | 'look again'> {
    const { instanceId, kept } = instance;
    const leftMs = Date.parse(date) - Date.now();
    if (leftMs > 0) return { again: Math.min(leftMs, 3_600_000) };
    await lease.check();
    await this.shards.dropDatabase(instance, kept!.database, lease.fence);
    await this.asInstance(lease, instanceId, async (ctx, current) => {
      if (current.kept?.database === kept!.database) await this.instances.save(ctx, { ...current, kept: null });
    });
    return 'look again';
  }

  /** A name that it had before leads nowhere any more, and then it is the planner's again. */
  private async untilGivenUp(
    lease: Lease,
    instance: Instance,
    { host, until }: FormerHost,
  ): Promise<Outcome | 'look again'> {
    const leftMs = Date.parse(until) - Date.now();
    if (leftMs > 0) return { again: Math.min(leftMs, 3_600_000) };
    await lease.check();
    if (!(await this.leadAwayFrom(host, instance, lease))) return 'look again';
    await this.asInstance(lease, instance.instanceId, async (ctx, current) => {
      const live = withoutFormerHost(current.live, host);
      if (live.formerHosts?.length === current.live.formerHosts?.length) return;
      await this.instances.save(ctx, { ...current, live });
      await ctx.publish(HostReleaseRequested, { instanceId: current.instanceId, host, reason: 'it was renamed' });
    });
    return 'look again';
  }

  /** @returns whether it is so; else somebody else has written the route meanwhile. */
  private async leadAwayFrom(host: string, instance: Instance, lease: Lease): Promise<boolean> {
    const seen = await this.cluster.observe(instance);
    const { route } = seen;
    if (route === 'absent') return true;
    if (route.epoch > instance.epoch)
      throw new Obstacle('EPOCH_AHEAD', 'somebody has written its route with a later word than ours');
    const without = { ...instance, live: withoutFormerHost(instance.live, host) };
    try {
      await this.cluster.applyRoute(without, route.to, { ...seen, site: 'unasked' }, lease.fence);
      return true;
    } catch (error) {
      if (error instanceof Conflict) return false;
      throw error;
    }
  }

  /** Writes only while the lease is held. */
  private async asInstance(
    lease: Lease,
    instanceId: string,
    work: (ctx: PublishContext, instance: Instance) => Promise<void>,
  ): Promise<void> {
    const known = await this.instances.get(instanceId);
    if (!known) return;
    // Its end is part of the operation that asked for it.
    const { traceparent, correlationId } = known.termination ?? known;
    await this.outbox.transaction({ traceparent: traceparent ?? undefined, correlationId }, async (ctx) => {
      const instance = await this.instances.lock(ctx, instanceId);
      await lease.hold(ctx);
      if (instance) await work(ctx, instance);
    });
  }
}

function soonest(...all: readonly (Outcome | 'look again')[]): Outcome | 'look again' {
  if (all.includes('look again')) return 'look again';
  const waits = all.flatMap((one) => (typeof one === 'object' ? [one.again] : []));
  return waits.length === 0 ? 'done' : { again: Math.min(...waits) };
}
