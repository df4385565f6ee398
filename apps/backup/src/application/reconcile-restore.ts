import { Injectable } from '@nestjs/common';
import {
  BackupFailed,
  BackupVerified,
  FootprintRemovalRequested,
  FootprintRequested,
  InstanceQuiesceRequested,
  InstanceReleaseRequested,
  newId,
  RestoreCompleted,
  RestoreFailed,
  RestoreProgressed,
} from '#contracts/index.js';
import { isWorthKeeping, type Obstacle, seen, timeSpentAtFirst, unseen } from '#footprints/index.js';
import { Outbox, type PublishContext } from '#messaging/index.js';
import { forgetThisRun } from '#observability/index.js';
import { JobQueue, type Lease, type Outcome } from '#persistence/index.js';
import { type Backup, faultOf, type Verified } from '../domain/backup.js';
import { Hopeless } from '../domain/hopeless.js';
import type { Refusal } from '../domain/instance.js';
import { isProvedBad } from '../domain/proof.js';
import { contentsOf, type Progress, type Restore, type Stage, stageOf, stagesOf } from '../domain/restore.js';
import { BackupMetrics } from './backup-metrics.js';
import { BeginBackup } from './begin-backup.js';
import { FillFootprint, type Step } from './fill-footprint.js';
import { BackupSettings, Backups, Instances, Restores } from './ports.js';
import { ProveBackup } from './prove-backup.js';
import { askToSetAside } from './set-aside-damaged.js';
import { hidesWhatIs, hindrance } from './what-hinders.js';

/** Answers hurry us, and the watch; this is for what nobody tells. */
const lookAgainMs = 10_000;
/** Who waits for a place is hurried when there is one. */
const turnAgainMs = 60_000;
/** Another request for a footprint, after there was no room. */
const askRoomAgainMs = 30_000;

const done: Step = { kind: 'done' };
const noPlace = { reason: 'NoPlace', message: 'as many proofs as may be are under way on its shard' } as const;

/**
 * Has a footprint made, lets it be filled with what a backup has, and lets the instance live there; or only sees that it
 * can be done. Nothing of the instance is touched before that footprint is good; what fails leaves it as it was.
 */
@Injectable()
export class ReconcileRestore {
  constructor(
    private readonly restores: Restores,
    private readonly backups: Backups,
    private readonly instances: Instances,
    private readonly begin: BeginBackup,
    private readonly prove: ProveBackup,
    private readonly filling: FillFootprint,
    private readonly outbox: Outbox,
    private readonly jobs: JobQueue,
    private readonly settings: BackupSettings,
    private readonly metrics: BackupMetrics,
  ) {}

  async reconcile(lease: Lease): Promise<Outcome> {
    try {
      return await this.goOn(lease);
    } catch (error) {
      const restore = await this.restores.get(lease.key);
      if (restore?.status === 'active' && error instanceof Hopeless) {
        const { code, message, damaged } = error;
        await this.turnBack(lease, restore, { code, fault: 'platform', message }, damaged);
        return { again: 0 };
      }
      const obstacle = lease.signal.aborted ? undefined : hindrance(error);
      if (restore && restore.status !== 'ended' && obstacle && (await this.noteObstacle(lease, restore, obstacle)))
        return { again: 0 };
      throw error;
    }
  }

  private async goOn(lease: Lease): Promise<Outcome> {
    while (!lease.signal.aborted) {
      const restore = await this.restores.get(lease.key);
      if (!restore || restore.status === 'ended') return 'done';
      const { failure } = restore.progress;
      if (restore.status === 'active' && failure) {
        await this.turnBack(lease, restore, failure);
        continue;
      }
      const step = restore.status === 'undoing' ? await this.undo(lease, restore) : await this.take(lease, restore);
      if (step.kind === 'waits') {
        if (await this.waited(lease, restore, step)) continue;
        forgetThisRun();
        return { again: step.reason === noPlace.reason ? turnAgainMs : lookAgainMs };
      }
      if (restore.status === 'undoing') await this.giveUp(lease, restore);
      else await this.advance(lease, restore, step.progress);
    }
    return { again: 0 };
  }

  private async take(lease: Lease, restore: Restore): Promise<Step> {
    const stage = stageOf(restore);
    this.expectHold(restore);
    switch (stage) {
      case 'footprint':
        return await this.haveFootprint(lease, restore);
      case 'database':
        return await this.fillDatabase(lease, restore);
      case 'files':
        return await this.filling.volume(lease, restore);
      case 'load':
        return await this.filling.load(lease, restore);
      case 'quiesce':
        return await this.quiesce(lease, restore);
      case 'safety':
        return await this.backUpFirst(lease, restore);
      case 'release':
        return await this.release(lease, restore);
      case 'clear':
        return await this.clear(lease, restore);
      case undefined:
        throw new Error(`restore ${restore.restoreId} has no stage ${restore.stage}`);
    }
  }

  /** Made by others, near the instance. */
  private async haveFootprint(lease: Lease, restore: Restore): Promise<Step> {
    const { footprintId, instanceId, mode, progress } = restore;
    if (progress.footprint) return done;
    const again = (progress.noRoomAt ?? 0) + askRoomAgainMs;
    if (!progress.footprintAsked && Date.now() < again)
      return { kind: 'waits', reason: 'NoRoom', message: 'there is no room for it beside the instance just now' };
    if (!progress.footprintAsked) {
      const { source } = await this.backup(contentsOf(restore).database);
      const purpose = mode === 'proof' || mode === 'clone' ? mode : 'restore';
      const asked = { footprintId, purpose, instanceId, template: source.template } as const;
      const begun = await this.change(lease, restore, async (ctx, current, backup) => {
        // It may have gone while a proof of it waited for its turn, or for room.
        if (backup.state !== 'completed') throw new Hopeless('BACKUP_EXPIRED', 'the time of that backup was over');
        if (mode === 'proof' && !(await this.hasPlace(ctx, backup))) return false;
        const footprintAsked = await ctx.publish(FootprintRequested, asked);
        // How long a proof waited for its turn says nothing about how long a restore takes.
        const startedAt = mode === 'proof' ? new Date() : current.startedAt;
        await this.restores.save(ctx, { ...current, startedAt, progress: { ...current.progress, footprintAsked } });
        return true;
      });
      if (begun === false) return { kind: 'waits', ...noPlace };
    }
    return { kind: 'waits', reason: 'FootprintAsked', message: 'a footprint is made to be filled' };
  }

  private async hasPlace(ctx: PublishContext, { source }: Backup): Promise<boolean> {
    return await this.restores.hasRoomForProof(ctx, source.databaseShard, this.settings.proofsPerShard);
  }

  /** Noted before it is opened: nobody fills a database again that was opened. */
  private async fillDatabase(lease: Lease, restore: Restore): Promise<Step> {
    if (restore.progress.rows === undefined) {
      const counts = await this.filling.database(lease, restore);
      await this.note(lease, restore, async () => counts);
    }
    await this.filling.open(lease, restore);
    return done;
  }

  private async quiesce(lease: Lease, restore: Restore): Promise<Step> {
    const { instanceId, progress, reason } = restore;
    if (progress.token) return done;
    if (!progress.quiesceAsked) {
      const deadline = new Date(Date.now() + this.settings.quiesceMs).toISOString();
      const asked = { instanceId, purpose: 'restore', deadline, requestedBy: 'backup', reason };
      await this.note(lease, restore, async (ctx) => ({
        quiesceAsked: await ctx.publish(InstanceQuiesceRequested, asked),
      }));
    }
    return { kind: 'waits', reason: 'QuiesceAsked', message: 'the instance is brought to a stop' };
  }

  /** As it is, so that whoever regrets the restore has lost nothing. */
  private async backUpFirst(lease: Lease, restore: Restore): Promise<Step> {
    const { progress, instanceId, traceparent, correlationId } = restore;
    if (!progress.safetyBackupId) {
      await this.note(lease, restore, async (ctx) => {
        // Not locked: whoever tells of it locks it before its backups and restores.
        const instance = (await this.instances.get(instanceId))!;
        const backupId = newId();
        const cause = { traceparent, correlationId, requestId: null };
        await this.begin.of(ctx, instance, { backupId, why: 'safety', token: progress.token!, cause });
        return { safetyBackupId: backupId };
      });
      return { kind: 'waits', reason: 'SafetyBackup', message: 'it is backed up as it is' };
    }
    const safety = await this.backup(progress.safetyBackupId);
    if (safety.state === 'completed') return done;
    if (safety.state === 'failed')
      throw new Hopeless('NO_SAFETY_BACKUP', `it could not be backed up as it is: ${safety.fault?.message}`);
    return { kind: 'waits', reason: 'SafetyBackup', message: 'it is backed up as it is' };
  }

  private async release(lease: Lease, restore: Restore): Promise<Step> {
    const { progress, instanceId, footprintId, reason } = restore;
    if (progress.released === 'switched') return done;
    if (!progress.releaseAsked) {
      const asked = { instanceId, token: progress.token!, footprintId, requestedBy: 'backup', reason };
      await this.note(lease, restore, async (ctx) => ({
        releaseAsked: await ctx.publish(InstanceReleaseRequested, asked),
      }));
    }
    return { kind: 'waits', reason: 'ReleaseAsked', message: 'the instance is brought to what was restored' };
  }

  private expectHold({ progress }: Restore): void {
    if (progress.released === 'as before')
      throw new Hopeless(
        'DEADLINE_PASSED',
        'the instance did not stand still for long enough, and runs again as it was',
      );
  }

  /** What stands there only for this is removed: Jobs first, because they use it. */
  private async clear(lease: Lease, restore: Restore): Promise<Step> {
    const { progress, footprintId } = restore;
    const { footprint } = progress;
    const ended = await this.filling.endJobs(lease, restore);
    if (ended.kind === 'waits') return ended;
    if (footprint === null || !progress.footprintAsked) return done;
    if (!progress.removalAsked)
      await this.note(lease, restore, async (ctx) => ({
        removalAsked: await ctx.publish(FootprintRemovalRequested, {
          footprintId,
          reason: 'it is not needed any more',
        }),
      }));
    return done;
  }

  /** The instance first: nothing of what was done for it may keep it from running. */
  private async undo(lease: Lease, restore: Restore): Promise<Step> {
    const { progress, instanceId, reason } = restore;
    const { token } = progress;
    if (progress.quiesceAsked && !progress.released) {
      // It may be brought to a stop all the same, and would stand still until the deadline.
      if (!token) return { kind: 'waits', reason: 'QuiesceAsked', message: 'the instance is being brought to a stop' };
      if (!progress.letGoAsked) {
        const asked = { instanceId, token, requestedBy: 'backup', reason };
        await this.note(lease, restore, async (ctx) => ({
          letGoAsked: await ctx.publish(InstanceReleaseRequested, asked),
        }));
      }
      return { kind: 'waits', reason: 'LetGo', message: 'the instance is let go as it was' };
    }
    if (progress.released === 'switched') return await this.filling.endJobs(lease, restore);
    return await this.clear(lease, restore);
  }

  private async advance(lease: Lease, restore: Restore, more: Progress = {}): Promise<void> {
    const stage = restore.stage + 1;
    const steps = stagesOf(restore);
    if (stage < steps.length)
      return await this.change(lease, restore, async (ctx, current) => {
        const progress = { ...current.progress, ...more };
        await this.restores.save(ctx, {
          ...current,
          stage,
          progress,
          condition: null,
          ...timeSpentAtFirst(new Date()),
        });
        await this.tellProgress(ctx, current, steps[stage]!);
      });
    if (restore.mode !== 'proof') await this.filling.endJobs(lease, restore);
    await this.change(lease, restore, async (ctx, current, backup) => {
      const ended = await this.end(ctx, current, more);
      if (ended.mode === 'proof') await this.tellProof(ctx, ended, backup);
      else await this.tellCompleted(ctx, ended);
    });
    await this.hurryNext(restore);
  }

  private async end(ctx: PublishContext, current: Restore, more: Progress): Promise<Restore> {
    const progress = { ...current.progress, ...more };
    const ended: Restore = { ...current, status: 'ended', progress, condition: null };
    await this.restores.save(ctx, ended);
    ctx.afterCommit(() => this.count(ended));
    return ended;
  }

  private async tellProof(ctx: PublishContext, { progress }: Restore, backup: Backup): Promise<void> {
    const { rows = 0, files = 0, rtoMs = 0, filesSeen = 'simulated', filesMissing } = progress;
    const at = new Date().toISOString();
    const seen = { rows, files, rtoMs, filesSeen, ...(filesMissing !== undefined && { filesMissing }) };
    const verified: Verified = { depth: 'full', offSite: true, at, ...seen };
    await this.backups.save(ctx, { ...backup, verified, fault: null });
    const { backupId, instanceId, footprintId, why } = backup;
    await ctx.publish(BackupVerified, {
      ...{ backupId, instanceId, footprintId, why, depth: 'full', offSite: true, ...seen },
      verifiedAt: at,
    });
  }

  private async tellCompleted(ctx: PublishContext, restore: Restore): Promise<void> {
    const { restoreId, instanceId, backupId, mode, to, footprintId, startedAt, progress } = restore;
    const { rows = 0, files = 0, filesMissing, safetyBackupId } = progress;
    if (mode === 'proof') return;
    await ctx.publish(RestoreCompleted, {
      ...{ restoreId, instanceId, backupId, mode, footprintId, rows, files },
      ...(to && { to }),
      ...(filesMissing !== undefined && { filesMissing }),
      ...(safetyBackupId && { safetyBackupId }),
      durationMs: Date.now() - startedAt.getTime(),
    });
  }

  private async tellProgress(ctx: PublishContext, restore: Restore, step: Stage): Promise<void> {
    const { restoreId, instanceId, backupId, mode } = restore;
    if (mode === 'proof') return;
    await ctx.publish(RestoreProgressed, {
      ...{ restoreId, instanceId, backupId, mode, step, steps: [...stagesOf(restore)] },
      message: words[step],
    });
  }

  private async turnBack(
    lease: Lease,
    restore: Restore,
    failure: Refusal,
    damaged: readonly string[] = [],
  ): Promise<void> {
    await this.change(lease, restore, async (ctx, current) => {
      const progress = { ...current.progress, failure, ...(damaged.length > 0 && { damaged }) };
      const first = timeSpentAtFirst(new Date());
      await this.restores.save(ctx, { ...current, status: 'undoing', progress, condition: null, ...first });
    });
  }

  private async giveUp(lease: Lease, restore: Restore): Promise<void> {
    await this.change(lease, restore, async (ctx, current, backup) => {
      const failure = current.progress.failure!;
      const { restoreId, instanceId, backupId, mode } = current;
      // Lifecycle's last word counts: what it lives in is not removed, and it is restored.
      if (current.progress.released === 'switched') {
        const { failure: _, ...progress } = current.progress;
        return await this.tellCompleted(ctx, await this.end(ctx, { ...current, progress }, {}));
      }
      ctx.afterCommit(() => this.count(current));
      await this.restores.save(ctx, { ...current, status: 'ended', condition: null });
      if (mode !== 'proof')
        return void (await ctx.publish(RestoreFailed, { restoreId, instanceId, backupId, mode, ...failure }));
      const { damaged = [] } = current.progress;
      const failures = (current.progress.failures ?? 0) + 1;
      // One that could not be restored now may be good all the same: it is tried again, and nobody is told that it is bad.
      if (!isProvedBad(failure.code, failures)) return await this.prove.askAgain(ctx, backup, failures);
      const { footprintId, why } = backup;
      await this.backups.save(ctx, { ...backup, fault: faultOf(failure, damaged) });
      if (damaged.length > 0) await askToSetAside(ctx, this.jobs, backup);
      await ctx.publish(BackupFailed, { backupId, instanceId, footprintId, why, ...failure });
    });
    await this.hurryNext(restore);
  }

  /** After the commit: of two that free a place at the same time, the later one sees both. */
  private async hurryNext({ mode, backupId }: Restore): Promise<void> {
    if (mode !== 'proof') return;
    const { source } = await this.backup(backupId);
    for (const key of await this.restores.nextProofs(source.databaseShard, this.settings.proofsPerShard))
      await this.jobs.hurry('restore', key);
  }

  private count({ mode, startedAt, progress: { failure, failures = 0 } }: Restore): void {
    if (mode !== 'proof') this.metrics.restoreEnded(mode, failure ? 'failed' : 'completed', startedAt);
    else if (!failure) this.metrics.proofEnded('full', 'verified', startedAt);
    else this.metrics.proofEnded('full', isProvedBad(failure.code, failures + 1) ? 'bad' : 'failed', startedAt);
  }

  /** @returns whether it is given up: then something has changed. */
  private async waited(
    lease: Lease,
    restore: Restore,
    { reason, message }: Extract<Step, { kind: 'waits' }>,
  ): Promise<boolean> {
    const limitMs = this.settings.deadlines.restore;
    // Who waits for its turn uses up none of its time.
    const isInLine = reason === noPlace.reason;
    const spent = isInLine ? unseen(restore) : seen(restore, new Date(), limitMs);
    if (restore.status === 'active' && spent.spentMs > limitMs) {
      await this.turnBack(lease, restore, {
        code: 'NOT_DONE_IN_TIME',
        fault: 'platform',
        message: `not done in time: ${message}`,
      });
      return true;
    }
    // Whatever happens in its cell leads to another look, and most of them see nothing new.
    const isKept = restore.condition?.reason === reason && restore.condition.message === message;
    if (isKept && (isInLine || !isWorthKeeping(restore, new Date(), limitMs))) return false;
    await this.change(
      lease,
      restore,
      async (ctx, current) => {
        await this.restores.save(ctx, { ...current, condition: { reason, message }, ...spent });
      },
      'note',
    );
    return false;
  }

  private async noteObstacle(lease: Lease, restore: Restore, { reason, message }: Obstacle): Promise<boolean> {
    const limitMs = this.settings.deadlines.restore;
    const spent = hidesWhatIs(reason) ? unseen(restore) : seen(restore, new Date(), limitMs);
    // What is being taken back is taken back to its end.
    if (restore.status === 'active' && spent.spentMs > limitMs) {
      await this.turnBack(lease, restore, { code: reason, fault: 'platform', message });
      return true;
    }
    await this.change(
      lease,
      restore,
      async (ctx, current) => {
        await this.restores.save(ctx, { ...current, condition: { reason, message }, ...spent });
      },
      'note',
    );
    return false;
  }

  private async note(
    lease: Lease,
    restore: Restore,
    ask: (ctx: PublishContext, backup: Backup) => Promise<Progress>,
  ): Promise<void> {
    await this.change(lease, restore, async (ctx, current, backup) => {
      await this.restores.save(ctx, { ...current, progress: { ...current.progress, ...(await ask(ctx, backup)) } });
    });
  }

  /** Only while the lease is held, and the restore is where it was when it was looked at. Its backup is locked before it. */
  private async change<T>(
    lease: Lease,
    { restoreId, backupId, status, stage, traceparent, correlationId, requestId }: Restore,
    work: (ctx: PublishContext, current: Restore, backup: Backup) => Promise<T>,
    what: 'progress' | 'note' = 'progress',
  ): Promise<T | undefined> {
    const cause = {
      traceparent: traceparent ?? undefined,
      correlationId,
      ...(requestId && { causationId: requestId }),
    };
    return await this.outbox.transaction(cause, async (ctx) => {
      // Rows before the job, as those lock who answer, so that neither waits for the other.
      const backup = await this.backups.lock(ctx, backupId);
      const current = await this.restores.lock(ctx, restoreId);
      await lease.hold(ctx, what);
      const isAsSeen = backup && current?.status === status && current.stage === stage;
      return isAsSeen ? await work(ctx, current, backup) : undefined;
    });
  }

  private async backup(backupId: string): Promise<Backup> {
    const backup = await this.backups.get(backupId);
    if (!backup) throw new Hopeless('UNKNOWN_BACKUP', `there is no backup ${backupId}`);
    return backup;
  }
}

const words: Readonly<Record<Stage, string>> = {
  footprint: 'a footprint is made to be filled',
  database: 'the database is being filled and compared',
  files: 'the files are being brought',
  load: 'Odoo opens it',
  quiesce: 'the instance is brought to a stop',
  safety: 'it is backed up as it is',
  release: 'the instance is brought to what was restored',
  clear: 'what was made for it is removed',
};
