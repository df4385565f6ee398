import { z } from 'zod';
import { backupReasons } from './backup-requests.js';
import { fact } from './contract.js';
import { fault, footprintId, instanceId, template, time, uuid, word } from './fields.js';

const ofBackup = (data: { readonly backupId: string }) => data.backupId;

const backup = { backupId: uuid, instanceId, footprintId, why: z.enum(backupReasons) };
const bytes = z.int().nonnegative();

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
  }),
});

export const BackupFailed = fact('backup.failed.v1', {
  publisher: 'backup',
  subject: 'backup',
  subjectOf: ofBackup,
  why: 'A backup was not made, or one that was made is not good.',
  data: z.object({ ...backup, code: word(64), fault, message: z.string().max(2_000) }),
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
  }),
});
