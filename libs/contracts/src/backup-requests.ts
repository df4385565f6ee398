import { z } from 'zod';
import { request } from './contract.js';
import { instanceId, uuid, word } from './fields.js';

export const backupReasons = ['scheduled', 'manual', 'pre-upgrade', 'final', 'safety'] as const;

export const BackupRequested = request('backup.requested.v1', {
  owner: 'backup',
  answeredBy: ['backup.completed.v1', 'backup.failed.v1'],
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
