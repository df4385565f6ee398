import { Injectable } from '@nestjs/common';
import { hidesTheWorld, isWorthKeeping, Obstacle, seen, timeSpentAtFirst, unseen } from '#footprints/index.js';
import type { PublishContext } from '#messaging/index.js';
import { forgetThisRun } from '#observability/index.js';
import { footprintNames } from '#odoo/index.js';
import type { Lease, Outcome } from '#persistence/index.js';
import { overtakerOf, verdictOf } from '../domain/arbitration.js';
import { enter } from '../domain/entering.js';
import type { Failure } from '../domain/failure.js';
import { hostsOf, type Instance } from '../domain/instance.js';
import { moved } from '../domain/moving.js';
import { isSo, type Operation, type Progress, refusalOf, type Stage, stagesOf } from '../domain/operation.js';
import { atOnce } from '../domain/state-table.js';
import { targetOf } from '../domain/switching.js';
import { AskOthers } from './ask-others.js';
import { ChangeOperation } from './change-operation.js';
import { EndOperation } from './end-operation.js';
import { FootprintStages, type StageOutcome } from './footprint-stages.js';
import { Footprints, Instances, LifecycleSettings, Operations } from './ports.js';
import { SeeToDates } from './see-to-dates.js';

/** The watch hurries us; this is how long a change may go unseen when the watch is down. */
const lookAgainMs = 5_000;
/** Nothing hurries us when a site begins to answer. */
const askAgainMs = 250;
/** A wait shorter than this is nobody's business. */
const worthSayingMs = 2_000;

/** Where the operation under way is, as it was committed or read last: what is done about it is committed only while that is so. */
interface UnderWay {
  readonly instance: Instance;
  readonly operation: Operation;
}

interface Wait {
  readonly waitMs: number;
  /** Something was changed before it had to wait. */
  readonly acted: boolean;
}

/**
 * Does what is asked of an instance, one thing after the other: takes the operation under way a step further, begins the
 * next one when it has ended, and sees to what has its date. Every step may be repeated, so a run that dies anywhere is
 * taken up by the next one, which looks first.
 */
@Injectable()
export class ReconcileInstance {
  constructor(
    private readonly instances: Instances,
    private readonly operations: Operations,
    private readonly footprints: Footprints,
    private readonly stages: FootprintStages,
    private readonly end: EndOperation,
    private readonly dates: SeeToDates,
    private readonly questions: AskOthers,
    private readonly changes: ChangeOperation,
    private readonly settings: LifecycleSettings,
  ) {}

  async reconcile(lease: Lease): Promise<Outcome> {
    try {
      return await this.goOn(lease);
    } catch (error) {
      // What goes away by itself before the second try is nobody's business.
      if (error instanceof Obstacle && lease.attempt > 1 && (await this.noteObstacle(lease, error)))
        return { again: 0 };
      throw error;
    }
  }

  private async goOn(lease: Lease): Promise<Outcome> {
    let acted = false;
    let underWay: UnderWay | undefined;
    while (!lease.signal.aborted) {
      if (underWay) {
        const outcome: UnderWay | Wait | undefined = await this.work(lease, underWay);
        if (outcome && 'waitMs' in outcome) {
          // Who waits is looked at all the time; a trace of minutes of that could not be read.
          if (!acted && !outcome.acted) forgetThisRun();
          return { again: outcome.waitMs };
        }
        underWay = outcome;
        acted = true;
        continue;
      }
      const instance = await this.instances.get(lease.key);
      if (!instance) return 'done';
      const open = await this.operations.open(undefined, instance.instanceId);
      const active = open.find((one) => one.status === 'active');
      if (active) {
        underWay = { instance, operation: active };
        continue;
      }
      const next = open.find((one) => mayBegin(instance, one));
      if (next) {
        underWay = await this.begin(lease, next);
        acted = true;
        continue;
      }
      const rest = await this.dates.see(lease, instance, open);
      if (rest !== 'look again') {
        if (!acted) forgetThisRun();
        return rest;
      }
      acted = true;
    }
    return { again: 0 };
  }

  /** Judged now, because what was under way when it was asked for may have changed everything. */
  private async begin(lease: Lease, waiting: Operation): Promise<UnderWay | undefined> {
    return await this.changes.make(lease, waiting, async (ctx, instance, operation) => {
      if (!mayBegin(instance, operation)) return undefined;
      // What it has overtaken may have changed the world already, and nothing says so yet.
      const { urgent } = operation;
      if (!urgent && isSo(instance, operation)) {
        await this.end.alreadySo(ctx, instance, operation);
        return undefined;
      }
      const now = new Date();
      const { footprintId } = operation.input;
      const footprint = footprintId === undefined ? undefined : await this.footprints.get(ctx, footprintId);
      const refusal = refusalOf(instance, operation, now, footprint);
      if (refusal) {
        await this.end.refused(ctx, operation, refusal);
        return undefined;
      }
      const { kind, input } = operation;
      if (await this.giveWay(ctx, instance, operation, now)) return undefined;
      if (kind === 'terminate' && !urgent && instance.state === 'terminating') {
        const termination = { ...instance.termination!, purgeNotBefore: this.purgeNotBefore(input.at, now) };
        await this.instances.save(ctx, { ...instance, termination });
        await this.end.alreadySo(ctx, { ...instance, termination }, operation);
        return undefined;
      }
      const from = instance.state;
      const held = kind === 'release' ? { held: instance.quiesce! } : {};
      const target = footprintId === undefined ? {} : { target: targetOf(instance, footprintId, footprint) };
      const begun: Operation = {
        ...operation,
        status: 'active',
        startedAt: now,
        progress: { from, ...held, ...target },
        ...timeSpentAtFirst(now),
      };
      const [changed, entered] = this.enter(this.asItBegins(instance, begun, now), begun);
      await this.instances.save(ctx, changed);
      await this.operations.save(ctx, entered);
      await this.end.tellState(ctx, changed, entered);
      return { instance: changed, operation: entered };
    });
  }

  /** Somebody who waits would overtake it: it ends before it has begun. */
  private async giveWay(ctx: PublishContext, instance: Instance, operation: Operation, now: Date): Promise<boolean> {
    const others = (await this.operations.open(ctx, instance.instanceId)).filter(
      (one) => one.operationId !== operation.operationId && refusalOf(instance, one, now) === undefined,
    );
    const by = overtakerOf(operation.kind, others);
    if (!by) return false;
    await this.end.overtaken(ctx, instance, operation, by);
    await this.operations.save(ctx, { ...by, urgent: true });
    return true;
  }

  private asItBegins(instance: Instance, { kind, input, traceparent, correlationId }: Operation, now: Date): Instance {
    if (!atOnce.has(kind)) return instance;
    if (kind === 'quiesce') return moved(instance, kind, input.purpose!);
    if (kind === 'switch-back') return moved(instance, kind, kind);
    const purgeNotBefore = this.purgeNotBefore(input.at, now);
    const cause = { traceparent, correlationId };
    const termination = { purgeNotBefore, finalBackupId: null, verifiedBackupId: null, approval: null, ...cause };
    // Whoever held it holds it no longer: their token is dead.
    return { ...moved(instance, kind, 'requested'), termination, quiesce: null };
  }

  private purgeNotBefore(at: string | undefined, now: Date): string {
    return at ?? new Date(now.getTime() + this.settings.graceMs).toISOString();
  }

  private enter(instance: Instance, operation: Operation): readonly [Instance, Operation] {
    const { database } = footprintNames(this.settings.meshName, instance.live.footprintId);
    const { formerHostMs } = this.settings;
    return enter(instance, operation, new Date(), { database, formerHostMs });
  }

  /** A step further. @returns where it is then, or how long it waits; undefined: somebody has to look. */
  private async work(lease: Lease, { instance, operation }: UnderWay): Promise<UnderWay | Wait | undefined> {
    const stages = stagesOf(operation, instance);
    const stage = stages[operation.stage];
    if (stage === undefined) {
      await this.finish(lease, operation);
      return undefined;
    }
    const outcome = await this.take(lease, instance, operation, stage);
    switch (outcome.kind) {
      case 'done':
        return await this.advance(lease, operation, stages.length, outcome.progress);
      case 'failed':
        return await this.turnBack(lease, operation, outcome.failure, outcome.progress);
      case 'waits': {
        const limitMs = this.deadlineOf(operation, stage);
        const now = new Date();
        const spent = seen(operation, now, limitMs);
        if (limitMs !== Number.POSITIVE_INFINITY && spent.spentMs > limitMs)
          return await this.turnBack(lease, operation, tooLate(stage, outcome));
        if (isWorthSaying(operation, outcome, now, limitMs)) await this.noteWait(lease, operation, outcome, spent);
        return { waitMs: outcome.soon ? askAgainMs : lookAgainMs, acted: outcome.acted };
      }
    }
  }

  private async take(lease: Lease, instance: Instance, operation: Operation, stage: Stage): Promise<StageOutcome> {
    switch (stage) {
      case 'up':
      case 'down':
      case 'switch':
      case 'fit':
      case 'fence':
      case 'copy':
      case 'update':
      case 'tidy':
      case 'address':
      case 'route':
        return await this.stages.take(lease, instance, operation, stage);
      default:
        return await this.questions.ask(lease, instance, operation, stage);
    }
  }

  private async finish(lease: Lease, operation: Operation, more: Progress = {}): Promise<void> {
    await this.changes.make(lease, operation, async (ctx, instance, current) => {
      const ended = { ...current, progress: { ...current.progress, ...more } };
      const { failure } = ended.progress;
      if (failure) await this.end.failed(ctx, instance, ended, failure);
      else await this.end.done(ctx, instance, ended);
    });
  }

  /** To the next stage; after the last one it is over, in the same transaction. */
  private async advance(
    lease: Lease,
    operation: Operation,
    stages: number,
    more: Progress = {},
  ): Promise<UnderWay | undefined> {
    const stage = operation.stage + 1;
    if (stage >= stages) {
      await this.finish(lease, operation, more);
      return undefined;
    }
    return await this.changes.make(lease, operation, async (ctx, instance, current) => {
      const progress = { ...current.progress, ...more };
      const [changed, entered] = this.enter(instance, { ...current, stage, progress });
      await this.instances.save(ctx, changed);
      await this.operations.save(ctx, entered);
      if (isShownOtherwise(changed, instance)) await this.end.tellState(ctx, changed, entered);
      return { instance: changed, operation: entered };
    });
  }

  /** What was begun is taken back, stage by stage; what cannot even be taken back stands still. */
  private async turnBack(
    lease: Lease,
    operation: Operation,
    failure: Failure,
    more: Progress = {},
  ): Promise<UnderWay | undefined> {
    return await this.changes.make(lease, operation, async (ctx, instance, current) => {
      const progress = { ...current.progress, ...more };
      if (progress.fellThrough) {
        await this.end.failed(ctx, instance, { ...current, progress }, progress.failure!);
        return undefined;
      }
      const back: Operation = {
        ...current,
        stage: 0,
        progress: progress.failure ? { ...progress, fellThrough: true } : { ...progress, failure },
      };
      if (stagesOf(back, instance).length === 0) {
        await this.end.failed(ctx, instance, back, failure);
        return undefined;
      }
      const [changed, entered] = this.enter(instance, back);
      await this.instances.save(ctx, changed);
      await this.operations.save(ctx, entered);
      if (isShownOtherwise(changed, instance)) await this.end.tellState(ctx, changed, entered);
      return { instance: changed, operation: entered };
    });
  }

  private async noteWait(
    lease: Lease,
    operation: Operation,
    { reason, message }: { readonly reason: string; readonly message: string },
    spent: { readonly spentMs: number; readonly seenAt: Date | null },
  ): Promise<void> {
    await this.changes.make(
      lease,
      operation,
      async (ctx, _, current) => {
        await this.operations.save(ctx, { ...current, ...spent, condition: { reason, message } });
      },
      'note',
    );
  }

  /** @returns whether it has been in the way for too long: then it is taken back. What hides the world is no time spent. */
  private async noteObstacle(lease: Lease, { reason, message }: Obstacle): Promise<boolean> {
    const active = (await this.operations.open(undefined, lease.key)).find((one) => one.status === 'active');
    const instance = await this.instances.get(lease.key);
    const stage = active && instance && stagesOf(active, instance)[active.stage];
    if (!active || !stage) return false;
    const limitMs = this.deadlineOf(active, stage);
    const spent = hidesTheWorld(reason) ? unseen(active) : seen(active, new Date(), limitMs);
    if (spent.spentMs > limitMs) {
      await this.turnBack(lease, active, { code: reason, fault: 'platform', message });
      return true;
    }
    if (active.condition?.reason === reason && active.seenAt === null && spent.seenAt === null) return false;
    await this.changes.make(
      lease,
      active,
      async (ctx, _, current) => {
        await this.operations.save(ctx, { ...current, ...spent, condition: { reason, message } });
      },
      'note',
    );
    return false;
  }

  private deadlineOf({ progress }: Operation, stage: Stage): number {
    const { up, down, answer, backup, update } = this.settings.deadlines;
    if (stage === 'up' || stage === 'route') return up;
    // Before it is asked for, somebody looks whether there is room.
    if (stage === 'backup' && !progress.asked) return answer;
    if (stage === 'backup' || stage === 'clone') return backup;
    if (stage === 'update') return update;
    // Who gave up on the way back would leave two footprints that the same host leads to.
    if (stage === 'cancel' || (stage === 'switch' && progress.failure)) return Number.POSITIVE_INFINITY;
    return stage === 'room' || stage === 'host' ? answer : down;
  }
}

/** Whether a person would ask by now, and would be told something else than what is kept; or time has to be counted. */
function isWorthSaying(
  operation: Operation,
  { reason, message }: { readonly reason: string; readonly message: string },
  now: Date,
  limitMs: number,
): boolean {
  const { startedAt, condition } = operation;
  if (now.getTime() - (startedAt?.getTime() ?? 0) < worthSayingMs) return false;
  const isKept = condition?.reason === reason && condition.message === message;
  return !isKept || isWorthKeeping(operation, now, limitMs);
}

/** Whether its turn has come, as far as the others are concerned. */
function mayBegin({ state, quiesce }: Instance, { status, kind, urgent }: Operation): boolean {
  if (status !== 'waiting') return false;
  // Until it is Ready, or given up, there is nothing to do it with.
  if (state === 'provisioning') return kind === 'terminate';
  return quiesce === null || urgent || verdictOf(kind, 'held') === 'overtakes';
}

/** Whoever comes there has to be told otherwise from now on. */
function isShownOtherwise(now: Instance, before: Instance): boolean {
  return now.state !== before.state || String(hostsOf(now.live)) !== String(hostsOf(before.live));
}

function tooLate(stage: Stage, { reason, message }: { readonly reason: string; readonly message: string }): Failure {
  const codes: Readonly<Partial<Record<Stage, string>>> = {
    up: 'NOT_READY_IN_TIME',
    down: 'DOES_NOT_END',
    room: 'NO_ANSWER',
    host: 'NO_ANSWER',
    route: 'NOT_READY_IN_TIME',
    backup: 'NO_BACKUP',
    clone: 'NO_CLONE',
    update: 'UPDATE_HANGS',
  };
  return { code: codes[stage] ?? reason, fault: 'platform', message: `not done in time: ${message}` };
}
