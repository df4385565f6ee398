import { createHash } from 'node:crypto';
import { setTimeout as pause } from 'node:timers/promises';
import { Injectable } from '@nestjs/common';
import { BackupCompleted, BackupFailed } from '#contracts/index.js';
import { isWorthKeeping, type Obstacle, seen, unseen } from '#footprints/index.js';
import { Outbox, type PublishContext } from '#messaging/index.js';
import { forgetThisRun } from '#observability/index.js';
import { JobQueue, type Lease, LeaseLost, type Outcome } from '#persistence/index.js';
import { type Backup, type Dumped, isUnderWay, type SavedFiles } from '../domain/backup.js';
import { Hopeless } from '../domain/hopeless.js';
import { inTheWay, nothingToBackUp, type Refusal } from '../domain/instance.js';
import { type Keys, keysOf } from '../domain/keys.js';
import { keptUntil, policyOf } from '../domain/policy.js';
import { actFor } from './act-for.js';
import { BackupMetrics } from './backup-metrics.js';
import { BeginBackup } from './begin-backup.js';
import { LockContents } from './lock-contents.js';
import { manifestOf } from './manifest.js';
import {
  BackupSettings,
  Backups,
  CellFiles,
  Instances,
  ObjectLocked,
  ObjectMissing,
  ObjectStore,
  Restores,
  TenantSources,
} from './ports.js';
import { ProveBackup } from './prove-backup.js';
import { hidesWhatIs, hindrance } from './what-hinders.js';

/** Who waits for a place, or for an instance, is hurried when it may go on; this is for what nobody tells. */
const lookAgainMs = 30_000;
/** The watch hurries us; this is how long a change may go unseen when the watch is down. */
const watchAgainMs = 5_000;
const snapshotAgainMs = 250;
/** What has changed more often than that, nobody could read. */
const worthSayingMs = 2_000;
/** What the store holds goes when its time has come. */
const lockedAgainMs = 3_600_000;

/**
 * Makes a backup: the database and the moment of the volume together, then the files, then the manifest, without which
 * there is none. A run that dies anywhere is taken up by the next one: a dump from its beginning, files where it stopped.
 */
@Injectable()
export class ReconcileBackup {
  constructor(
    private readonly backups: Backups,
    private readonly instances: Instances,
    private readonly restores: Restores,
    private readonly begin: BeginBackup,
    private readonly sources: TenantSources,
    private readonly store: ObjectStore,
    private readonly files: CellFiles,
    private readonly contents: LockContents,
    private readonly prove: ProveBackup,
    private readonly outbox: Outbox,
    private readonly jobs: JobQueue,
    private readonly settings: BackupSettings,
    private readonly metrics: BackupMetrics,
  ) {}

  async reconcile(lease: Lease): Promise<Outcome> {
    try {
      return await this.goOn(lease);
    } catch (error) {
      if (error instanceof Hopeless) {
        const backup = await this.backups.get(lease.key);
        if (backup) await this.fail(lease, backup, { code: error.code, fault: 'platform', message: error.message });
        return { again: 0 };
      }
      const obstacle = lease.signal.aborted ? undefined : hindrance(error);
      if (obstacle && (await this.noteObstacle(lease, obstacle))) return { again: 0 };
      throw error;
    }
  }

  private async goOn(lease: Lease): Promise<Outcome> {
    while (!lease.signal.aborted) {
      const backup = await this.backups.get(lease.key);
      if (!backup) return 'done';
      switch (backup.state) {
        case 'expiring':
        case 'expired':
          return 'done';
        case 'waiting': {
          const outcome = await this.takeTurn(lease, backup);
          if (outcome) return outcome;
          break;
        }
        case 'dumping': {
          const outcome = await this.standBack(lease, backup);
          if (outcome === 'stays') await this.dump(lease, backup);
          else if (outcome) return outcome;
          break;
        }
        case 'saving': {
          const outcome = await this.saveFiles(lease, backup);
          if (outcome) return outcome;
          break;
        }
        default:
          return await this.tidy(lease, backup);
      }
    }
    return { again: 0 };
  }

  /** @returns undefined: it has begun, or it never will. */
  private async takeTurn(lease: Lease, backup: Backup): Promise<Outcome | undefined> {
    const instance = await this.instances.get(backup.instanceId);
    const refusal = instance ? nothingToBackUp(instance) : undefined;
    if (refusal) {
      await this.fail(lease, backup, refusal);
      return undefined;
    }
    const obstacle = instance && inTheWay(instance, backup, new Date());
    // Where it lives now, which may be another place than where it lived when somebody asked.
    const source = instance && !obstacle ? await this.begin.sourceOf(instance) : backup.source;
    const begun =
      !obstacle &&
      (await this.change(lease, backup, async (ctx, current) => {
        const taken: Backup = { ...current, source, footprintId: source.footprintId };
        if (current.state !== 'waiting' || !(await this.backups.hasRoom(ctx, taken, this.settings.most))) return false;
        await this.backups.save(ctx, { ...taken, state: 'dumping', condition: null });
        return true;
      }));
    if (begun) return undefined;
    await this.noteWait(lease, backup, obstacle ?? { reason: 'NoPlace', message: 'as many as may be are under way' });
    forgetThisRun();
    return { again: lookAgainMs };
  }

  /**
   * An earlier dump may have been ended because somebody works on the instance, or because it lives elsewhere now. Then
   * what was made for it goes, and it waits for its turn again.
   * @returns undefined: it waits.
   */
  private async standBack(lease: Lease, backup: Backup): Promise<'stays' | Outcome | undefined> {
    const { instanceId, source, backupId } = backup;
    const instance = await this.instances.get(instanceId);
    const livesThere = instance?.live?.footprintId === source.footprintId && instance.live.database === source.database;
    if (instance && livesThere && !nothingToBackUp(instance) && !inTheWay(instance, backup, new Date())) return 'stays';
    if (!(await this.files.tidy(source, backupId, lease.fence))) return { again: watchAgainMs };
    await this.change(lease, backup, async (ctx, current) => {
      await this.backups.save(ctx, { ...current, state: 'waiting', ...this.looked(current) });
    });
    return undefined;
  }

  private async dump(lease: Lease, backup: Backup): Promise<void> {
    const { source, backupId } = backup;
    const { token: attempt, fence } = lease;
    const keys = this.keys(backup);
    this.files.watch(source.namespace);
    const sent: Promise<unknown>[] = [];
    const sending = <T>(one: Promise<T>): Promise<T> => {
      sent.push(one);
      return one;
    };
    const takeBack = async () => {
      await Promise.allSettled(sent);
      await this.takeBack(lease, [keys.dump(attempt), keys.fingerprint(attempt)]);
    };
    const dumped = await actFor(lease, backup, 'dump: database', () =>
      this.sources.hold(
        source,
        async (held, signal): Promise<Dumped> => {
          // The volume after the database, and both before the files that the database names can go.
          const [stored, print] = await Promise.all([
            sending(this.store.put(keys.dump(attempt), held.dump(signal), { fence, signal })),
            held.fingerprint(),
            this.freeze(source, backupId, attempt, fence, signal),
          ]);
          const text = JSON.stringify(print);
          const about = { contentType: 'application/json', fence, signal };
          const fingerprint = await sending(this.store.putSmall(keys.fingerprint(attempt), text, about));
          const { takenAt, serverVersion, odooVersion, modules } = held;
          return {
            ...{ key: keys.dump(attempt), ...stored, rows: print.rows, takenAt: takenAt.toISOString() },
            ...{ serverVersion, odooVersion, modules, attempt },
            fingerprint: { key: keys.fingerprint(attempt), sha256: fingerprint.sha256 },
          };
        },
        lease.signal,
      ),
    ).catch(async (error) => {
      await takeBack();
      throw error;
    });
    await this.change(lease, backup, async (ctx, current) => {
      const takenAt = new Date(dumped.takenAt);
      await this.backups.save(ctx, { ...current, state: 'saving', dumped, takenAt, ...this.looked(current) });
    }).catch(async (error) => {
      // Of any other error nobody knows whether it came after the commit.
      if (error instanceof LeaseLost) await takeBack();
      throw error;
    });
    await this.hurryNext(source);
  }

  /**
   * What an attempt has sent that has lost its lease meanwhile: it may have come when its heirs had tidied up already.
   * Without a fence, because nobody else has its names. What cannot be had back goes when the backup expires.
   */
  private async takeBack(lease: Lease, keys: readonly string[]): Promise<void> {
    try {
      lease.fence();
    } catch {
      await this.store.remove(keys).catch(() => {});
    }
  }

  private async freeze(
    source: Backup['source'],
    backupId: string,
    attempt: string,
    fence: () => void,
    signal: AbortSignal,
  ): Promise<void> {
    while ((await this.files.snapshot(source, backupId, attempt, fence)) === 'pending')
      await pause(snapshotAgainMs, undefined, { signal });
  }

  private async saveFiles(lease: Lease, backup: Backup): Promise<Outcome | undefined> {
    const { source, backupId, dumped } = backup;
    const keys = this.keys(backup);
    this.files.watch(source.namespace);
    const index = keys.index(dumped!.attempt);
    const to = { folder: source.database, files: keys.files, index };
    const job = await this.files.save(source, backupId, dumped!.attempt, to, lease.fence);
    if (job.state === 'failed') throw new Hopeless(job.code, job.message);
    if (job.state === 'runs') {
      const spent = seen(backup, new Date(), this.settings.deadlines.backup);
      if (spent.spentMs > this.settings.deadlines.backup)
        throw new Hopeless('NOT_DONE_IN_TIME', `not done in time: ${job.message}`);
      await this.noteWait(lease, backup, { reason: 'FilesAreSaved', message: job.message });
      forgetThisRun();
      return { again: watchAgainMs };
    }
    const saved =
      job.state === 'done' ? { index, files: job.files, bytes: job.bytes } : { index: null, files: 0, bytes: 0 };
    await this.complete(lease, { ...backup, saved }, keys);
    return undefined;
  }

  /** The manifest, when the contents cannot go any more, and only then the word that there is a backup. */
  private async complete(lease: Lease, backup: Backup, keys: Keys): Promise<void> {
    const { plan } = (await this.instances.get(backup.instanceId))!;
    const until = keptUntil(policyOf(plan.name), { why: backup.why, takenAt: backup.takenAt! });
    const saved = await this.lockContents(lease, backup, until);
    const text = JSON.stringify(manifestOf(backup, keys.files), undefined, 2);
    await actFor(lease, backup, 'write: manifest', () =>
      this.store.putSmall(keys.manifest, text, { contentType: 'application/json', fence: lease.fence }),
    );
    const manifest = createHash('sha256').update(text).digest('hex');
    for (const key of objectsOf(backup, keys)) await this.store.lockUntil(key, until, lease.fence);
    await this.change(lease, backup, async (ctx, current) => {
      const completed: Backup = { ...current, saved, manifest, state: 'completed', condition: null };
      await this.backups.save(ctx, completed);
      const { backupId, instanceId, footprintId, why, dumped, source, takenAt, expiresAt } = completed;
      await ctx.publish(BackupCompleted, {
        ...{ backupId, instanceId, footprintId, why, takenAt: takenAt!.toISOString(), template: source.template },
        ...{ databaseBytes: dumped!.bytes, filesBytes: saved!.bytes, files: saved!.files, checksum: dumped!.sha256 },
        ...(expiresAt && { expiresAt: expiresAt.toISOString() }),
      });
      await this.prove.ask(ctx, completed);
      await this.prove.askForHealed(ctx, instanceId);
      await this.tellRestores(ctx, completed);
      const size = { databaseBytes: dumped!.bytes, filesBytes: saved!.bytes };
      ctx.afterCommit(() => this.metrics.backupCompleted(why, completed.requestedAt, size));
    });
    await this.hurryNext(backup.source);
  }

  /** Those that it shares with others; what else it consists of is locked when all of it is there. */
  private async lockContents(lease: Lease, backup: Backup, until: Date): Promise<SavedFiles> {
    const saved = backup.saved!;
    const { index } = saved;
    if (index === null || !this.store.locks) return saved;
    const { fence, signal } = lease;
    const locked = await actFor(lease, backup, 'lock: files', () =>
      this.contents.lock(backup, index, until, fence, signal),
    ).catch((error) => {
      throw error instanceof ObjectMissing ? new Hopeless('OBJECT_MISSING', error.message) : error;
    });
    return { ...saved, locked };
  }

  private async fail(lease: Lease, backup: Backup, refusal: Refusal): Promise<void> {
    await this.change(lease, backup, async (ctx, current) => {
      if (current.state !== 'waiting' && !isUnderWay(current)) return;
      const { code, message } = refusal;
      await this.backups.save(ctx, { ...current, state: 'failed', fault: { code, message }, condition: null });
      const { backupId, instanceId, footprintId, why } = current;
      await ctx.publish(BackupFailed, { backupId, instanceId, footprintId, why, ...refusal });
      await this.tellRestores(ctx, current);
      ctx.afterCommit(() => this.metrics.backupFailed(why, current.requestedAt));
    });
    await this.hurryNext(backup.source);
  }

  /** Those that waited for it go on. */
  private async tellRestores(ctx: PublishContext, { backupId }: Backup): Promise<void> {
    for (const { restoreId } of await this.restores.lockWaitingFor(ctx, backupId))
      await this.jobs.ask(ctx, { kind: 'restore', key: restoreId });
  }

  /** After the commit: of two that free a place at the same time, the later one sees both. */
  private async hurryNext({ databaseShard }: Backup['source']): Promise<void> {
    for (const key of await this.backups.nextWaiting(databaseShard, this.settings.most))
      await this.jobs.hurry('backup', key);
  }

  /** What was made on the way to it, and is not of it: Jobs and snapshot, and what attempts that died have sent. */
  private async tidy(lease: Lease, backup: Backup): Promise<Outcome> {
    const { backupId, source, state } = backup;
    const keys = this.keys(backup);
    // Each change there leads to another look; the store is asked once, behind the last of them.
    if (!(await this.files.tidy(source, backupId, lease.fence))) return { again: watchAgainMs };
    await this.store.removeUnfinished(keys.backup, lease.fence);
    const its = state === 'completed' ? objectsOf(backup, keys) : [];
    const others: string[] = [];
    for await (const { key } of this.store.list(keys.backup)) if (!its.includes(key)) others.push(key);
    try {
      await this.store.remove(others, lease.fence);
    } catch (error) {
      if (error instanceof ObjectLocked) return { again: lockedAgainMs };
      throw error;
    }
    return 'done';
  }

  private keys(backup: Backup): Keys {
    return keysOf(this.settings.meshName, backup);
  }

  private looked(backup: Backup) {
    return seen(backup, new Date(), this.settings.deadlines.backup);
  }

  private async noteWait(
    lease: Lease,
    backup: Backup,
    condition: { readonly reason: string; readonly message: string },
  ): Promise<void> {
    // Whatever happens in its cell leads to another look, and most of them see nothing that anybody would wait to read.
    const now = new Date();
    const { reason, message } = condition;
    const isKept = backup.condition?.reason === reason && backup.condition.message === message;
    const isFresh = backup.seenAt !== null && now.getTime() - backup.seenAt.getTime() < worthSayingMs;
    if (backup.state === 'waiting' ? isKept : isFresh) return;
    if (isKept && !isWorthKeeping(backup, now, this.settings.deadlines.backup)) return;
    await this.change(
      lease,
      backup,
      async (ctx, current) => {
        // Who waits for its turn uses up none of its time.
        const spent = current.state === 'waiting' ? {} : this.looked(current);
        await this.backups.save(ctx, { ...current, condition, ...spent });
      },
      'note',
    );
  }

  /** @returns whether it has been in the way for too long: then it has failed. What hides the world is no time spent. */
  private async noteObstacle(lease: Lease, { reason, message }: Obstacle): Promise<boolean> {
    const backup = await this.backups.get(lease.key);
    if (!backup || !isUnderWay(backup)) return false;
    const spent = hidesWhatIs(reason) ? unseen(backup) : this.looked(backup);
    if (spent.spentMs > this.settings.deadlines.backup) {
      await this.fail(lease, backup, { code: reason, fault: 'platform', message });
      return true;
    }
    await this.change(
      lease,
      backup,
      async (ctx, current) => {
        await this.backups.save(ctx, { ...current, condition: { reason, message }, ...spent });
      },
      'note',
    );
    return false;
  }

  /** Only while the lease is held, and the backup is in the state in which it was looked at. */
  private async change<T>(
    lease: Lease,
    { backupId, state, traceparent, correlationId, requestId }: Backup,
    work: (ctx: PublishContext, current: Backup) => Promise<T>,
    what: 'progress' | 'note' = 'progress',
  ): Promise<T | undefined> {
    const cause = {
      traceparent: traceparent ?? undefined,
      correlationId,
      ...(requestId && { causationId: requestId }),
    };
    return await this.outbox.transaction(cause, async (ctx) => {
      await lease.hold(ctx, what);
      const current = await this.backups.lock(ctx, backupId);
      return current?.state === state ? await work(ctx, current) : undefined;
    });
  }
}

/** All that it consists of beside the contents that it shares. */
function objectsOf({ dumped, saved }: Backup, keys: Keys): string[] {
  return [keys.manifest, dumped!.key, dumped!.fingerprint.key, ...(saved!.index ? [saved!.index] : [])];
}
