import { Injectable } from '@nestjs/common';
import { InstanceProvisioningFailed, InstanceProvisioningProgressed, InstanceReady } from '#contracts/index.js';
import { hidesTheWorld, isWorthKeeping, Obstacle, seen, unseen } from '#footprints/index.js';
import { Outbox, type PublishContext } from '#messaging/index.js';
import { forgetThisRun, inSpan } from '#observability/index.js';
import { footprintNames } from '#odoo/index.js';
import type { Lease, Outcome } from '#persistence/index.js';
import { type Condition, type Footprint, isSpare, isToBeFilled, orderOf } from '../domain/footprint.js';
import { type Action, afterStep, nextAction, type Observed, type Step, steps } from '../domain/next-action.js';
import { FootprintSteps } from './footprint-steps.js';
import { Cluster, Footprints, ProvisionerSettings } from './ports.js';
import { ProvisioningMetrics } from './provisioning-metrics.js';
import { readyFact } from './ready-fact.js';
import { ReconcileEmpty } from './reconcile-empty.js';
import { ReconcileSpare } from './reconcile-spare.js';
import { RemoveFootprint } from './remove-footprint.js';

/** The watch hurries us; this is how long a change may go unseen when the watch is down. */
const lookAgainMs = 5_000;
/** Nothing hurries us when a site begins to answer. */
const askAgainMs = 250;

/**
 * Makes a footprint: looks at the world, takes step after step and tells each, until there is something to wait for or
 * the instance is Ready; that is only believed of a world that was looked at since the last step. Every step may be
 * repeated, so a run that dies anywhere is taken up by the next one, which looks first.
 */
@Injectable()
export class ReconcileFootprint {
  constructor(
    private readonly footprints: Footprints,
    private readonly cluster: Cluster,
    private readonly making: FootprintSteps,
    private readonly spare: ReconcileSpare,
    private readonly empty: ReconcileEmpty,
    private readonly outbox: Outbox,
    private readonly removal: RemoveFootprint,
    private readonly settings: ProvisionerSettings,
    private readonly metrics: ProvisioningMetrics,
  ) {}

  async reconcile(lease: Lease): Promise<Outcome> {
    try {
      return await this.goOn(lease);
    } catch (error) {
      // What goes away by itself before the second try is nobody's business.
      if (error instanceof Obstacle && lease.attempt > 1) await this.noteObstacle(lease, error);
      throw error;
    }
  }

  private async goOn(lease: Lease): Promise<Outcome> {
    // After a step of ours we know what it has changed; to look at everything again costs the cluster more than the step.
    let assumed: Observed | undefined;
    let acted = false;
    let footprint = await this.footprints.get(lease.key);
    while (!lease.signal.aborted) {
      if (footprint?.state === 'removing') return await this.removal.reconcile(lease, footprint);
      if (footprint?.state !== 'making') {
        if (!acted) forgetThisRun();
        return 'done';
      }
      if (isSpare(footprint)) return await this.spare.reconcile(lease, footprint);
      if (isToBeFilled(footprint)) return await this.empty.reconcile(lease, footprint);
      this.cluster.watch(footprint.placed.namespace);

      const looked = footprint;
      const observed: Observed =
        assumed ?? (await inSpan('look', {}, () => this.making.look(looked, 'instance', lease.signal)));
      const action = nextAction(observed);
      if (assumed && action?.kind !== 'act') {
        assumed = undefined;
        continue;
      }
      if (!action) return await this.announceReady(lease, footprint, observed.site === 'answers');
      if (action.kind === 'fail') return await this.giveUp(lease, footprint, action.code, action.message);
      const now = new Date();
      const spent = seen(footprint, now, this.settings.deadlineMs);
      if (spent.spentMs > this.settings.deadlineMs)
        return await this.giveUp(lease, footprint, 'DEADLINE_EXCEEDED', tooLate(footprint, spent.spentMs, now, action));
      if (isWorthKeeping(footprint, now, this.settings.deadlineMs)) {
        footprint = await this.keep(lease, footprint, (current) => ({ ...current, ...spent }));
        if (footprint?.state !== 'making') continue;
      }
      if (action.kind === 'wait') {
        const told = await this.noteCondition(lease, footprint, action);
        // Who waits is looked at all the time; a trace of fifteen minutes of that could not be read.
        if (!told && !acted) forgetThisRun();
        return { again: action.soon ? askAgainMs : lookAgainMs };
      }
      const durationMs = await this.making.act(lease, footprint, action.step);
      acted = true;
      footprint = await this.noteProgress(lease, footprint, action.step, durationMs);
      assumed = afterStep(observed, action.step);
    }
    return { again: 0 };
  }

  /** @returns the footprint as it is now, whoever changed it meanwhile. */
  private async noteProgress(
    lease: Lease,
    footprint: Footprint,
    step: Step,
    durationMs: number,
  ): Promise<Footprint | undefined> {
    const { footprintId } = footprint;
    const { instanceId } = orderOf(footprint);
    return await this.change(lease, footprint, async (ctx, current) => {
      const next = {
        ...current,
        ...seen(current, new Date(), this.settings.deadlineMs),
        timings: { ...current.timings, [step]: durationMs },
        condition: null,
      };
      await this.footprints.save(ctx, next);
      await ctx.publish(InstanceProvisioningProgressed, {
        instanceId,
        footprintId,
        step,
        steps: [...steps],
        durationMs,
      });
      return next;
    });
  }

  private async noteObstacle(lease: Lease, { reason, message }: Obstacle): Promise<void> {
    const footprint = await this.footprints.get(lease.key);
    if (footprint?.state !== 'making' || isSpare(footprint)) return;
    if (isToBeFilled(footprint)) return await this.empty.noteObstacle(lease, footprint, new Obstacle(reason, message));
    if (hidesTheWorld(reason) && footprint.seenAt)
      await this.keep(lease, footprint, (current) => ({ ...current, ...unseen(current) }));
    const step = steps.find((one) => footprint.timings[one] === undefined) ?? 'ready';
    await this.noteCondition(lease, footprint, { kind: 'wait', step, reason, message });
  }

  /** Saves what nobody is told of, and what is no progress: a run that dies after it counts as one that died. */
  private async keep(
    lease: Lease,
    footprint: Footprint,
    what: (current: Footprint) => Footprint,
  ): Promise<Footprint | undefined> {
    const work = async (ctx: PublishContext, current: Footprint) => {
      const next = what(current);
      await this.footprints.save(ctx, next);
      return next;
    };
    return await this.change(lease, footprint, work, 'note');
  }

  /** Said once per reason, so that a long wait is one line of the timeline. @returns whether it was said. */
  private async noteCondition(
    lease: Lease,
    footprint: Footprint,
    { step, reason, message }: Extract<Action, { kind: 'wait' }>,
  ): Promise<boolean> {
    if (footprint.condition?.reason === reason) return false;
    const condition: Condition = { reason, message, since: new Date().toISOString(), fault: 'platform' };
    const { footprintId } = footprint;
    const { instanceId } = orderOf(footprint);
    await this.change(lease, footprint, async (ctx, current) => {
      await this.footprints.save(ctx, { ...current, condition });
      await ctx.publish(InstanceProvisioningProgressed, {
        instanceId,
        footprintId,
        step,
        steps: [...steps],
        condition,
      });
    });
    return true;
  }

  private async announceReady(lease: Lease, footprint: Footprint, answered: boolean): Promise<Outcome> {
    const timings = { ...footprint.timings, ready: Date.now() - footprint.startedAt.getTime() };
    const uuid = await this.making.uuidOf(footprint);
    const names = footprintNames(this.settings.meshName, footprint.footprintId);
    const verified = answered ? 'http' : 'pod-condition';
    const seen = { uuid, verified, url: this.settings.urlOf(orderOf(footprint).host) } as const;
    await this.change(lease, footprint, async (ctx, current) => {
      await this.footprints.save(ctx, { ...current, state: 'ready', timings, condition: null });
      await ctx.publish(InstanceReady, readyFact({ ...current, timings }, names, seen));
      ctx.afterCommit(() => this.metrics.ready(current.startedAt));
    });
    return 'done';
  }

  private async giveUp(lease: Lease, footprint: Footprint, code: string, message: string): Promise<Outcome> {
    const { footprintId } = footprint;
    const { instanceId } = orderOf(footprint);
    const condition: Condition = { reason: code, message, since: new Date().toISOString(), fault: 'platform' };
    await this.change(lease, footprint, async (ctx, current) => {
      await this.footprints.save(ctx, { ...current, state: 'failed', condition });
      await ctx.publish(InstanceProvisioningFailed, {
        instanceId,
        footprintId,
        code,
        message,
        fault: 'platform',
        retryable: code === 'DEADLINE_EXCEEDED',
      });
      ctx.afterCommit(() => this.metrics.failed(condition.fault, current.startedAt));
    });
    return 'done';
  }

  /**
   * Writes only while the lease is held and the footprint is still being made. @returns what `work` made of it, or else
   * the footprint as somebody left it who was quicker.
   */
  private async change(
    lease: Lease,
    { footprintId, correlationId, traceparent }: Footprint,
    work: (ctx: PublishContext, current: Footprint) => Promise<Footprint | undefined>,
    what: 'progress' | 'note' = 'progress',
  ): Promise<Footprint | undefined> {
    return await this.outbox.transaction({ traceparent: traceparent ?? undefined, correlationId }, async (ctx) => {
      await lease.hold(ctx, what);
      const current = await this.footprints.lock(ctx, footprintId);
      return current?.state === 'making' ? await work(ctx, current) : current;
    });
  }
}

/** With the time that was not counted, because who reads it has a clock too. */
function tooLate({ startedAt }: Footprint, spentMs: number, now: Date, action: Action): string {
  const uncounted = Math.floor((now.getTime() - startedAt.getTime() - spentMs) / 60_000);
  const but = uncounted > 0 ? `, and ${uncounted} min in which it could not be looked at are not counted` : '';
  return `not ready in time: ${describe(action)}${but}`;
}

function describe(action: Action): string {
  return action.kind === 'act' ? `step ${action.step} was next` : action.message;
}
