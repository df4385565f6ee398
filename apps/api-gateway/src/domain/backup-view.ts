import type { BackupCompleted, BackupVerified, PayloadOf } from '#contracts/index.js';

type Completed = PayloadOf<typeof BackupCompleted>;
type Verified = PayloadOf<typeof BackupVerified>;

/**
 * `requested`: asked for here, and nobody has said what became of it. `failed`: it was not made, or a proof has shown that
 * it is not good, and no later proof that it is. What has expired stays so, whoever says something else.
 */
export const backupStates = ['requested', 'refused', 'completed', 'verified', 'failed', 'expired'] as const;
export type BackupState = (typeof backupStates)[number];

/**
 * What the gateway knows of a backup, put together from facts in any order: each fills in its own fields. The sequence of
 * facts about one backup tells which of a proof and a failure has the last word.
 */
export interface BackupView {
  readonly backupId: string;
  readonly instanceId: string;
  readonly state: BackupState;
  /** Null: nobody but who asked here has spoken of it. */
  readonly why: Completed['why'] | null;
  /** The moment it shows; null: it is not there. */
  readonly takenAt: Date | null;
  readonly template: Completed['template'] | null;
  readonly databaseBytes: number | null;
  readonly filesBytes: number | null;
  readonly files: number | null;
  /** SHA-256 of the database's dump, in hex. */
  readonly checksum: string | null;
  /** When its time is over, if nobody holds it. */
  readonly expiresAt: Date | null;
  /** Of the last proof; null: there was none. */
  readonly verifiedAt: Date | null;
  readonly depth: Verified['depth'] | null;
  readonly offSite: boolean | null;
  readonly filesSeen: NonNullable<Verified['filesSeen']> | null;
  /** That its database names, and that the instance had lost before; null: nobody has compared. */
  readonly filesMissing: number | null;
  readonly rtoMs: number | null;
  readonly rows: number | null;
  readonly held: boolean;
  readonly holdReason: string | null;
  readonly expiredAt: Date | null;
  /** Of a failure or a refusal. */
  readonly code: string | null;
  readonly message: string | null;
  /** Where it was asked for here. */
  readonly operationId: string | null;
  readonly requestedBy: string | null;
  readonly reason: string | null;
  readonly notedAt: Date;
}

/** Whether there is something that could be restored; whether it is good, the backup service looks again. */
export function isThere({ state, takenAt }: Pick<BackupView, 'state' | 'takenAt'>): boolean {
  return takenAt !== null && state !== 'expired';
}

/** The newest backup of an instance from which it could be had again, and how much would be lost by it. */
export interface LastBackup {
  readonly backupId: string;
  readonly takenAt: Date;
  readonly verified: boolean;
  /** In seconds, rounded down to a minute. */
  readonly ageSeconds: number;
}
