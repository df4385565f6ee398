import { z } from 'zod';
import { backupReasons, restoreModes } from './backup-requests.js';
import { fact } from './contract.js';
import { customerId, fault, footprintId, instanceId, ofInstance, template, time, uuid, word } from './fields.js';

const ofBackup = (data: { readonly backupId: string }) => data.backupId;

const backup = { backupId: uuid, instanceId, footprintId, why: z.enum(backupReasons) };
const bytes = z.int().nonnegative();
const code = word(64);
const message = z.string().max(2_000);

export const BackupCompleted = fact('backup.completed.v1', {
  publisher: 'backup',
  subject: 'backup',
  subjectOf: ofBackup,
  whole: true,
  why: 'All of a backup is where it is to be, and it can be restored.',
  data: z.object({
    ...backup,
    /** The moment it shows. */
    takenAt: time,
    template,
    databaseBytes: bytes,
    filesBytes: bytes,
    files: z.int().nonnegative(),
    /** SHA-256 of the database's dump, in hex. */
    checksum: z.string().regex(/^[0-9a-f]{64}$/),
    /** When its time is over, if nobody holds it. */
    expiresAt: time.optional(),
  }),
});

export const BackupFailed = fact('backup.failed.v1', {
  publisher: 'backup',
  subject: 'backup',
  subjectOf: ofBackup,
  why: 'A backup was not made, or one that was made is not good.',
  data: z.object({ ...backup, code, fault, message }),
});

export const BackupVerified = fact('backup.verified.v1', {
  publisher: 'backup',
  subject: 'backup',
  subjectOf: ofBackup,
  whole: true,
  why: 'A backup was restored somewhere else, or its copies were looked at, and it is good.',
  data: z.object({
    ...backup,
    /** `full`: restored, and everything compared. `light`: the copies' checksums, and a sample. */
    depth: z.enum(['full', 'light']),
    /** The copy outside the cluster was read back. Only with it, and `full`, may its instance be destroyed. */
    offSite: z.boolean(),
    /** How long the restore took, in ms; absent: nothing was restored. */
    rtoMs: z.int().nonnegative().optional(),
    rows: z.int().nonnegative(),
    files: z.int().nonnegative(),
    verifiedAt: time,
    /** `simulated`: a simulated node ran nothing, so that there were no files to read. */
    filesSeen: z.enum(['read', 'simulated']).optional(),
    /** Files that its database names, and that the instance had lost before it was made. Absent: nobody has compared. */
    filesMissing: z.int().nonnegative().optional(),
  }),
});

export const BackupRefused = fact('backup.refused.v1', {
  publisher: 'backup',
  // The request, never the backup: a wrong repeat must not touch a good one.
  subject: 'request',
  subjectOf: (data) => data.requestId,
  why: 'A backup is not begun, and nothing was changed.',
  data: z.object({ requestId: word(128), backupId: uuid, instanceId, code, fault, message }),
});

export const BackupHoldRefused = fact('backup.hold-refused.v1', {
  publisher: 'backup',
  subject: 'request',
  subjectOf: (data) => data.requestId,
  why: 'A backup that nobody has cannot be held.',
  data: z.object({ requestId: word(128), backupId: uuid, code, fault, message }),
});

export const BackupHoldChanged = fact('backup.hold-changed.v1', {
  publisher: 'backup',
  subject: 'backup',
  subjectOf: ofBackup,
  whole: true,
  why: 'A backup is held, or may go when its time has come.',
  data: z.object({ backupId: uuid, instanceId, held: z.boolean(), reason: z.string().max(500) }),
});

export const BackupExpired = fact('backup.expired.v1', {
  publisher: 'backup',
  subject: 'backup',
  subjectOf: ofBackup,
  whole: true,
  replaces: ['backup.completed.v1', 'backup.verified.v1', 'backup.failed.v1', 'backup.hold-changed.v1'],
  why: 'Nothing is left of a backup, because its time was over.',
  data: z.object({ ...backup, takenAt: time, expiredAt: time }),
});

export const BackupSnapshotsRemoved = fact('backup.snapshots-removed.v1', {
  publisher: 'backup',
  subject: 'instance',
  subjectOf: ofInstance,
  whole: true,
  why: 'No snapshot of a volume is left that an approval lets be destroyed.',
  data: z.object({ instanceId, footprintId, approvalId: word(128) }),
});

const restore = {
  restoreId: uuid,
  instanceId,
  backupId: uuid,
  mode: z.enum(restoreModes),
};
const ofRestore = (data: { readonly restoreId: string }) => data.restoreId;

export const RestoreProgressed = fact('restore.progressed.v1', {
  publisher: 'backup',
  subject: 'restore',
  subjectOf: ofRestore,
  why: 'A step of a restore is done, or waits for a reason.',
  data: z.object({ ...restore, step: word(64), steps: z.array(word(64)), message }),
});

export const RestoreCompleted = fact('restore.completed.v1', {
  publisher: 'backup',
  subject: 'restore',
  subjectOf: ofRestore,
  whole: true,
  why: 'What a backup has stands again: an instance lives in it, or a clone is to be made of it.',
  data: z.object({
    ...restore,
    footprintId,
    /** Of a clone: the instance it is to be. */
    to: z.object({ instanceId, slug: z.string().max(255), customerId }).optional(),
    /** The instance as it was just before. */
    safetyBackupId: uuid.optional(),
    /** From the request on. */
    durationMs: z.int().nonnegative(),
    rows: z.int().nonnegative(),
    files: z.int().nonnegative(),
    /** Files that its database names, and that nobody has any more. */
    filesMissing: z.int().nonnegative().optional(),
  }),
});

export const RestoreFailed = fact('restore.failed.v1', {
  publisher: 'backup',
  subject: 'restore',
  subjectOf: ofRestore,
  whole: true,
  why: 'A restore was given up, and the instance is as it was.',
  data: z.object({ ...restore, code, fault, message }),
});

export const RestoreRefused = fact('restore.refused.v1', {
  publisher: 'backup',
  subject: 'request',
  subjectOf: (data) => data.requestId,
  why: 'A restore is not begun, and nothing was changed.',
  data: z.object({ requestId: word(128), restoreId: uuid, instanceId, code, fault, message }),
});
