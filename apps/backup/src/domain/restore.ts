import type { restoreModes } from '#contracts/index.js';
import { findPlan } from '#odoo/index.js';
import type { Backup, Condition } from './backup.js';
import type { Instance, MadeFootprint, Refusal } from './instance.js';

/** `proof`: to see that it can be done, and how long it takes. */
export type Mode = (typeof restoreModes)[number] | 'proof';

/**
 * `footprint`: made by others, beside the instance. `database`, `files`: it is filled, and compared. `load`: Odoo opens it.
 * `quiesce`, `safety`, `release`: the instance stands still, is backed up as it is, and lives in the new one.
 */
export type Stage = 'quiesce' | 'safety' | 'footprint' | 'database' | 'files' | 'load' | 'release' | 'clear';

const stages: Readonly<Record<Mode, readonly Stage[]>> = {
  proof: ['footprint', 'database', 'files', 'load', 'clear'],
  clone: ['footprint', 'database', 'files', 'load'],
  // It runs on as long as it can: what it is to be stands beside it before it is stopped.
  'in-place': ['footprint', 'database', 'files', 'load', 'quiesce', 'safety', 'release'],
  // Half of what it is to be is what it is: that is only known when it stands still.
  'files-only': ['quiesce', 'safety', 'footprint', 'database', 'files', 'load', 'release'],
  'database-only': ['quiesce', 'safety', 'footprint', 'database', 'files', 'load', 'release'],
};

export interface Restore {
  readonly restoreId: string;
  readonly instanceId: string;
  readonly backupId: string;
  readonly mode: Mode;
  readonly to: { readonly instanceId: string; readonly slug: string; readonly customerId: string } | null;
  readonly requestedBy: string;
  readonly reason: string;
  readonly status: 'active' | 'undoing' | 'ended';
  readonly stage: number;
  /** Chosen before anybody was asked for it. */
  readonly footprintId: string;
  readonly progress: Progress;
  readonly startedAt: Date;
  readonly condition: Condition | null;
  readonly spentMs: number;
  readonly seenAt: Date | null;
  readonly traceparent: string | null;
  readonly correlationId: string;
  readonly requestId: string | null;
}

export interface Progress {
  /** Of a proof: how many before it could not be brought to their end. */
  readonly failures?: number;
  /** The message ids of what was asked; each at most once. */
  readonly footprintAsked?: string | undefined;
  /** When there was none, in ms since 1970. */
  readonly noRoomAt?: number;
  readonly quiesceAsked?: string;
  readonly releaseAsked?: string;
  /** To let it go as it was. */
  readonly letGoAsked?: string;
  readonly removalAsked?: string;
  /** As its maker says; null: it is gone again. */
  readonly footprint?: MadeFootprint | null;
  readonly token?: string;
  readonly released?: 'switched' | 'as before';
  readonly safetyBackupId?: string;
  /** Of the database, when it is filled and found equal. */
  readonly rows?: number;
  readonly files?: number;
  /** That the database names and no index has. */
  readonly filesMissing?: number;
  readonly filesSeen?: 'read' | 'simulated';
  /** From the question for a footprint until Odoo has opened it, in ms. */
  readonly rtoMs?: number;
  readonly failure?: Refusal;
  /** Contents of the store that are not what their names say, by SHA-1. */
  readonly damaged?: readonly string[];
}

export function stagesOf({ mode }: Pick<Restore, 'mode'>): readonly Stage[] {
  return stages[mode];
}

export function stageOf(restore: Pick<Restore, 'mode' | 'stage'>): Stage | undefined {
  return stages[restore.mode][restore.stage];
}

/** The backups whose database and whose files it is filled with: the asked one's, or those of the instance as it is. */
export function contentsOf({ mode, backupId, progress }: Pick<Restore, 'mode' | 'backupId' | 'progress'>): {
  readonly database: string;
  readonly files: readonly string[];
} {
  const now = progress.safetyBackupId;
  if (mode === 'files-only') return { database: now!, files: [backupId, now!] };
  if (mode === 'database-only') return { database: backupId, files: [backupId, now!] };
  return { database: backupId, files: [backupId] };
}

/** Nobody lets a backup go that is being restored; a proof that has nothing yet can be left out. */
export function needs(
  { mode, backupId, progress }: Pick<Restore, 'mode' | 'backupId' | 'progress'>,
  whose: string,
): boolean {
  if (mode === 'proof' && !progress.footprintAsked) return false;
  return backupId === whose || progress.safetyBackupId === whose;
}

/** Nobody is to be written to or charged by what is not the instance itself. */
export function isNeutral({ mode }: Pick<Restore, 'mode'>): boolean {
  return mode === 'proof' || mode === 'clone';
}

/** Why it is not begun; undefined: it is. */
export function refusalOf(
  asked: Pick<Restore, 'instanceId' | 'mode' | 'to'>,
  backup: Backup | undefined,
  instance: Instance | undefined,
): Refusal | undefined {
  const no = (code: string, message: string): Refusal => ({ code, fault: 'user', message });
  if (!backup) return no('UNKNOWN_BACKUP', 'there is no such backup');
  if (backup.instanceId !== asked.instanceId)
    return no('NOT_ITS_BACKUP', 'that backup is not of this instance; restore its own, or clone the other one');
  if (asked.to && asked.to.customerId !== backup.customerId)
    return no('ANOTHER_CUSTOMER', 'a backup is restored to nobody but its own customer');
  if (asked.to && asked.mode !== 'clone')
    return no('NOT_A_CLONE', `${asked.mode} is of the instance itself; leave out "to"`);
  switch (backup.state) {
    case 'waiting':
    case 'dumping':
    case 'saving':
      return no('BACKUP_RUNS', 'that backup is still being made; ask again when it is completed');
    case 'failed':
      return no('BACKUP_FAILED', 'that backup was never completed');
    case 'expiring':
    case 'expired':
      return no('BACKUP_EXPIRED', 'the time of that backup was over');
  }
  if (backup.fault) return no('BACKUP_NOT_GOOD', `that backup is not good: ${backup.fault.message}`);
  // Into a volume of the plan's size; that it is too small would show when most was done.
  const room = instance && findPlan(instance.plan.name, instance.plan.version)?.storageBytes;
  const needed = backup.saved?.bytes ?? 0;
  if (room !== undefined && needed > room)
    return no('DOES_NOT_FIT', `its files are ${needed} bytes, and the plan has ${room}; resize the instance first`);
  if (asked.mode === 'clone') return undefined;
  if (!instance || instance.state === 'purging' || instance.state === 'terminated')
    return no('IS_TERMINATED', 'the instance is gone; clone the backup');
  return undefined;
}

/** `18.0` → 18; undefined: it says nothing that can be compared. */
function majorOf(version: string): number | undefined {
  const major = Number.parseInt(version, 10);
  return Number.isNaN(major) ? undefined : major;
}

/** A database that a newer Odoo has written is nothing that an older one can open. */
export function isNewerThan(backupVersion: string, runs: string): boolean {
  const [theirs, ours] = [majorOf(backupVersion), majorOf(runs)];
  return theirs !== undefined && ours !== undefined && theirs > ours;
}
