import { z } from 'zod';
import { fact } from './contract.js';
import { footprintId, instanceId, ofInstance, time, word } from './fields.js';

/** Believed only from lifecycle's broker user, and only until it expires. */
export const InstancePurgeApproved = fact('instance.purge-approved.v1', {
  publisher: 'lifecycle',
  subject: 'instance',
  subjectOf: ofInstance,
  firstHand: true,
  why: 'An instance at the end of its grace may be destroyed.',
  data: z.object({
    instanceId,
    footprintId,
    cell: word(64),
    databaseShard: word(64),
    database: word(63),
    /** A backup that was verified off-site; only a footprint that was never Ready goes without one. */
    backupId: word(128).optional(),
    neverReady: z.boolean().optional(),
    approvalId: word(128),
    expiresAt: time,
  }),
});
