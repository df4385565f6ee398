import { Injectable } from '@nestjs/common';
import { FootprintFailed, FootprintReady } from '#contracts/index.js';
import { hidesTheWorld, isWorthKeeping, type Obstacle, seen, unseen } from '#footprints/index.js';
import { Outbox, type PublishContext } from '#messaging/index.js';
import { forgetThisRun } from '#observability/index.js';
import { footprintNames } from '#odoo/index.js';
import type { Lease, Outcome } from '#persistence/index.js';
import { besideOf, type Condition, type Footprint, isToBeFilled } from '../domain/footprint.js';
import { type Action, afterStep, nextAction, type Observed } from '../domain/next-action.js';
import { FootprintSteps } from './footprint-steps.js';
import { Cluster, Footprints, ProvisionerSettings } from './ports.js';

/** The watch hurries us; this is how long a change may go unseen when the watch is down. */
const lookAgainMs = 5_000;

/**
 * Makes a footprint for somebody to fill: its Secret, volume and role, and a database with nothing in it that its tenant
 * cannot enter. Nothing runs there and no host leads there. It has no timeline, and whoever asked for it hears once that it
 * stands or that it was given up.
 */
@Injectable()
export class ReconcileEmpty {
  constructor(
    private readonly footprints: Footprints,
    private readonly cluster: Cluster,
    private readonly steps: FootprintSteps,
    private readonly outbox: Outbox,
    private readonly settings: ProvisionerSettings,
  ) {}

  async reconcile(lease: Lease, begun: Footprint): Promise<Outcome> {
    this.cluster.watch(begun.placed.namespace);
    const { deadlineMs } = this.settings;
    let footprint = begun;
    let assumed: Observed | undefined;
    let acted = false;
    while (!lease.signal.aborted) {
      const observed = assumed ?? (await this.steps.look(footprint, 'empty', lease.signal));
      const action = nextAction(observed, 'empty');
      if (assumed && action?.kind !== 'act') {
        assumed = undefined;
        continue;
      }
      if (!action) return await this.announceReady(lease, footprint);
      if (action.kind === 'fail') return await this.giveUp(lease, footprint, action.code, action.message);
      const now = new Date();
      const spent = seen(footprint, now, deadlineMs);
      if (spent.spentMs > deadlineMs)
        return await this.giveUp(lease, footprint, 'DEADLINE_EXCEEDED', `not made in time: ${whatWasNext(action)}`);
      if (isWorthKeeping(footprint, now, deadlineMs)) {
        await this.keep(lease, footprint, (current) => ({ ...current, ...spent }));
        footprint = { ...footprint, ...spent };
      }
      if (action.kind === 'wait') {
        await this.noteCondition(lease, footprint, action);
        if (!acted) forgetThisRun();
        return { again: lookAgainMs };
      }
      await this.steps.act(lease, footprint, action.step);
      acted = true;
      assumed = afterStep(observed, action.step, 'empty');
      // It may not be wanted any more.
      const current = await this.footprints.get(footprint.footprintId);
      if (!current || !isBeingMade(current)) return { again: 0 };
      footprint = current;
    }
    return { again: 0 };
  }

  /** What is in the way, for whoever looks; time in which nothing could be seen is not counted. */
  async noteObstacle(lease: Lease, footprint: Footprint, { reason, message }: Obstacle): Promise<void> {
    if (hidesTheWorld(reason) && footprint.seenAt)
      await this.keep(lease, footprint, (current) => ({ ...current, ...unseen(current) }));
    await this.noteCondition(lease, footprint, { reason, message });
  }

  private async noteCondition(
    lease: Lease,
    footprint: Footprint,
    { reason, message }: { readonly reason: string; readonly message: string },
  ): Promise<void> {
    if (footprint.condition?.reason === reason) return;
    await this.keep(lease, footprint, (current) => ({ ...current, condition: conditionNow(reason, message) }));
  }

  private async announceReady(lease: Lease, footprint: Footprint): Promise<Outcome> {
    await this.change(lease, footprint, 'progress', async (ctx, current) => {
      await this.footprints.save(ctx, { ...current, state: 'standing', condition: null });
      const { database, role, secret, object } = footprintNames(this.settings.meshName, current.footprintId);
      await ctx.publish(FootprintReady, { ...besideOf(current), database, role, secret, volumeClaim: object });
    });
    return 'done';
  }

  private async giveUp(lease: Lease, footprint: Footprint, code: string, message: string): Promise<Outcome> {
    await this.change(lease, footprint, 'progress', async (ctx, current) => {
      await this.footprints.save(ctx, { ...current, state: 'failed', condition: conditionNow(code, message) });
      const { footprintId, purpose } = besideOf(current);
      await ctx.publish(FootprintFailed, { footprintId, purpose, code, fault: 'platform', message });
    });
    return 'done';
  }

  private async keep(lease: Lease, footprint: Footprint, what: (current: Footprint) => Footprint): Promise<void> {
    await this.change(lease, footprint, 'note', (ctx, current) => this.footprints.save(ctx, what(current)));
  }

  /** Writes only while the lease is held and the footprint is still being made. */
  private async change(
    lease: Lease,
    { footprintId, traceparent, correlationId }: Footprint,
    what: 'progress' | 'note',
    work: (ctx: PublishContext, current: Footprint) => Promise<void>,
  ): Promise<void> {
    await this.outbox.transaction({ traceparent: traceparent ?? undefined, correlationId }, async (ctx) => {
      await lease.hold(ctx, what);
      const current = await this.footprints.lock(ctx, footprintId);
      if (current && isBeingMade(current)) await work(ctx, current);
    });
  }
}

function isBeingMade(footprint: Footprint): boolean {
  return isToBeFilled(footprint) && footprint.state === 'making';
}

function conditionNow(reason: string, message: string): Condition {
  return { reason, message, since: new Date().toISOString(), fault: 'platform' };
}

function whatWasNext(action: Exclude<Action, { kind: 'fail' }>): string {
  return action.kind === 'act' ? `step ${action.step} was next` : action.message;
}
