import { z } from 'zod';
import { fact } from './contract.js';
import { footprintId, instanceId, ofInstance, plan, time, word } from './fields.js';
import { instanceStates } from './instance-state.js';

export const InstanceStateChanged = fact('instance.state-changed.v1', {
  publisher: 'lifecycle',
  subject: 'instance',
  subjectOf: ofInstance,
  whole: true,
  why: 'An instance is in another state, or something else about it changed.',
  data: z.object({
    instanceId,
    state: z.enum(instanceStates),
    /** Absent: this is its first. */
    previous: z.enum(instanceStates).optional(),
    /** Why it is in this state. Of `suspended`: unpaid, abuse or operator. */
    reason: word(64),
    /** Where it is to be once nothing is under way any more. */
    desired: z.enum(instanceStates),
    plan,
    image: word(256),
    footprintId,
    /** The one it was switched from, as long as it can be switched back. */
    previousFootprintId: footprintId.optional(),
    database: word(63),
    secret: word(253),
    volumeClaim: word(253),
    host: word(253),
    /** Somebody else is at work on it while it stands still. */
    quiesce: z.object({ purpose: word(64), deadline: time }).optional(),
    /** Under way. */
    operation: z.object({ operationId: word(128), operation: word(64) }).optional(),
    /** When it came into this state. */
    since: time,
  }),
});

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
