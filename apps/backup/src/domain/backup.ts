import type { backupReasons } from '#contracts/index.js';
import type { Refusal, Template } from './instance.js';

export type Why = (typeof backupReasons)[number];

/**
 * `waiting` for its turn → `dumping` the database and freezing the volume → `saving` the files → `completed`, when its
 * manifest is written. `failed`: never completed. `expiring`: what is left of it is being removed; `expired`: nothing is.
 */
export const backupStates = ['waiting', 'dumping', 'saving', 'completed', 'failed', 'expiring', 'expired'] as const;
export type BackupState = (typeof backupStates)[number];

/** Where the data is that it is taken of. */
export interface Source {
  readonly footprintId: string;
  readonly cell: string;
  readonly namespace: string;
  readonly databaseShard: string;
  readonly database: string;
  readonly volumeClaim: string;
  /** What runs on it. */
  readonly template: Template;
}

/** The dump, as it was sent. */
export interface Dumped {
  readonly key: string;
  readonly bytes: number;
  /** In hex. */
  readonly sha256: string;
  readonly rows: number;
  readonly takenAt: string;
  readonly serverVersion: string;
  readonly odooVersion: string | null;
  /** Of the key with rows and checksum of each table. */
  readonly fingerprint: { readonly key: string; readonly sha256: string };
  readonly modules: Readonly<Record<string, string>>;
  /** Whose snapshot of the volume is younger than this dump's, and is the one to copy. */
  readonly attempt: string;
}

export interface SavedFiles {
  /** Of the index; null: a simulated node ran nothing. */
  readonly index: string | null;
  readonly files: number;
  readonly bytes: number;
  /** Absent: the store locks nothing. */
  readonly locked?: LockedContents;
}

/** How the store holds the contents that an index names. */
export interface LockedContents {
  /** All of them, or longer. RFC 3339. */
  readonly until: string;
  /** When the store got the index, by its own clock: what came later under one of its names is another version. RFC 3339. */
  readonly since: string;
  /** SHA-256 of the names, in hex: an index that was written anew says nothing about locks. */
  readonly names: string;
}

export interface Verified {
  readonly depth: 'full' | 'light';
  readonly offSite: boolean;
  readonly rows: number;
  readonly files: number;
  readonly rtoMs: number | null;
  readonly at: string;
  readonly filesSeen: 'read' | 'simulated';
  /** That its database names and that the instance had lost before. Absent: nobody has compared. */
  readonly filesMissing?: number;
}

export interface Fault {
  readonly code: string;
  readonly message: string;
  /** Contents that a proof has read as something else than their names say, by SHA-1, until somebody has looked at them again. */
  readonly damaged?: readonly string[];
  /** Somebody has: what was damaged is out of the way, and the next backup of the instance brings it again, if it still has it. */
  readonly mayHeal?: true;
}

/** @param damaged contents that are not what their names say, by SHA-1. */
export function faultOf({ code, message }: Pick<Fault, 'code' | 'message'>, damaged: readonly string[] = []): Fault {
  return { code, message, ...(damaged.length > 0 && { damaged }) };
}

export interface Condition {
  readonly reason: string;
  readonly message: string;
}

export interface Backup {
  readonly backupId: string;
  readonly instanceId: string;
  readonly customerId: string;
  readonly footprintId: string;
  readonly why: Why;
  readonly token: string | null;
  readonly state: BackupState;
  readonly source: Source;
  readonly dumped: Dumped | null;
  readonly saved: SavedFiles | null;
  /** SHA-256 of the manifest, in hex. */
  readonly manifest: string | null;
  readonly verified: Verified | null;
  /** Why it is not good: it was never completed, or a proof has found something. */
  readonly fault: Fault | null;
  /** Why somebody keeps it. */
  readonly held: string | null;
  readonly requestedAt: Date;
  /** The moment it shows. */
  readonly takenAt: Date | null;
  readonly expiresAt: Date | null;
  readonly condition: Condition | null;
  readonly spentMs: number;
  readonly seenAt: Date | null;
  readonly traceparent: string | null;
  readonly correlationId: string;
  /** The request's id; what it is answered with is said because of it. */
  readonly requestId: string | null;
}

/** It holds a place among those that a cell and a shard bear at once. */
export function isUnderWay({ state }: Pick<Backup, 'state'>): boolean {
  return state === 'dumping' || state === 'saving';
}

/** Why it can neither be held nor let go; undefined: it can. */
export function refusalOfHold(backup: Pick<Backup, 'state'> | undefined): Refusal | undefined {
  const no = (code: string, message: string): Refusal => ({ code, fault: 'user', message });
  switch (backup?.state) {
    case undefined:
      return no('UNKNOWN_BACKUP', 'there is no such backup');
    case 'failed':
      return no('BACKUP_FAILED', 'that backup was never completed');
    case 'expiring':
    case 'expired':
      return no('BACKUP_EXPIRED', 'the time of that backup was over, and it is gone');
    default:
      return undefined;
  }
}
