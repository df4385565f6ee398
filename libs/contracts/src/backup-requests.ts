import { z } from 'zod';
import { request } from './contract.js';
import { anyText, customerId, instanceId, text, uuid, word } from './fields.js';

export const backupReasons = ['scheduled', 'manual', 'pre-upgrade', 'final', 'safety'] as const;

export const BackupRequested = request('backup.requested.v1', {
  owner: 'backup',
  answeredBy: ['backup.completed.v1', 'backup.failed.v1', 'backup.refused.v1'],
  why: 'An instance is to be backed up now.',
  data: z.object({
    instanceId,
    /** Chosen by who asks: the same id twice is one backup. */
    backupId: uuid,
    why: z.enum(backupReasons),
    /** Of a quiesced instance. */
    token: word(128).optional(),
  }),
});

const aboutBackup = {
  backupId: uuid,
  /** A person, or the service that asks for one; absent: the message’s source. */
  requestedBy: text(128).optional(),
  reason: text(500),
};

export const BackupHoldRequested = request('backup.hold-requested.v1', {
  owner: 'backup',
  answeredBy: ['backup.hold-changed.v1', 'backup.hold-refused.v1'],
  why: 'A backup is to be kept until somebody says otherwise, for a court for instance.',
  data: z.object(aboutBackup),
});

export const BackupHoldReleaseRequested = request('backup.hold-release-requested.v1', {
  owner: 'backup',
  answeredBy: ['backup.hold-changed.v1', 'backup.hold-refused.v1'],
  why: 'A backup may go when its time has come.',
  data: z.object(aboutBackup),
});

export const restoreModes = ['in-place', 'clone', 'files-only', 'database-only'] as const;

export const RestoreRequested = request('restore.requested.v1', {
  owner: 'backup',
  answeredBy: ['restore.completed.v1', 'restore.failed.v1', 'restore.refused.v1'],
  why: 'An instance is to be as a backup has it, or another one is to be made of that.',
  data: z.object({
    /** Chosen by who asks: the same id twice is one restore. */
    restoreId: uuid,
    /** Of a clone: the instance that the backup is of. */
    instanceId,
    backupId: uuid,
    mode: z.enum(restoreModes),
    /** Of a clone: the new instance. Absent: a neutralised footprint that nobody reaches, for whoever asked. */
    to: z.object({ instanceId, slug: anyText(255), customerId }).optional(),
    requestedBy: text(128).optional(),
    reason: text(500),
  }),
});
