import { z } from 'zod';
import { fact } from './contract.js';
import { customDomains, fault, footprintId, instanceId, ofInstance, plan, time, word } from './fields.js';
import { instanceStates } from './instance-state.js';
import { suspensionReasons } from './lifecycle-requests.js';

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
    /** Where the footprint is. Absent: said by a release of before instances were switched. */
    cell: word(64).optional(),
    footprintId,
    /** The one it was switched from, as long as it can be switched back. */
    previousFootprintId: footprintId.optional(),
    database: word(63),
    secret: word(253),
    volumeClaim: word(253),
    host: word(253),
    /** Absent: it has none. */
    customDomains: customDomains(word(253)).optional(),
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
    /** Its Secrets, of which there may be more than one; absent: the first one. */
    secrets: z.array(word(253)).max(16).optional(),
    approvalId: word(128),
    expiresAt: time,
  }),
});

/** What every end of an operation says. */
const operation = {
  instanceId,
  /** Of the request that asked. */
  operationId: word(128),
  /** From when it began, after those before it; 0: it was so already. */
  durationMs: z.int().nonnegative(),
};
const code = word(64);
const message = z.string().max(2_000);

export const InstanceStarted = fact('instance.started.v1', {
  publisher: 'lifecycle',
  subject: 'instance',
  subjectOf: ofInstance,
  why: 'An instance runs, because somebody asked for it.',
  data: z.object(operation),
});

export const InstanceStopped = fact('instance.stopped.v1', {
  publisher: 'lifecycle',
  subject: 'instance',
  subjectOf: ofInstance,
  why: 'An instance stands still and its pod is gone, because somebody asked for it.',
  data: z.object(operation),
});

export const InstanceRestarted = fact('instance.restarted.v1', {
  publisher: 'lifecycle',
  subject: 'instance',
  subjectOf: ofInstance,
  why: 'An instance has begun anew.',
  data: z.object(operation),
});

export const InstanceSuspended = fact('instance.suspended.v1', {
  publisher: 'lifecycle',
  subject: 'instance',
  subjectOf: ofInstance,
  why: 'An instance does not run until billing or an operator says so.',
  data: z.object({ ...operation, why: z.enum(suspensionReasons) }),
});

export const InstanceResumed = fact('instance.resumed.v1', {
  publisher: 'lifecycle',
  subject: 'instance',
  subjectOf: ofInstance,
  why: 'An instance is not suspended any more.',
  data: z.object(operation),
});

export const InstanceResized = fact('instance.resized.v1', {
  publisher: 'lifecycle',
  subject: 'instance',
  subjectOf: ofInstance,
  why: 'An instance has another plan.',
  data: z.object({ ...operation, plan, previousPlan: plan }),
});

/**
 * What room there was before anything of an upgrade was begun, each with its figures. Absent: said by a release of before
 * anybody looked, or it ended before somebody had looked.
 */
const preflight = z
  .array(
    z.object({
      check: z.enum(['volume', 'shard-disk', 'memory', 'connections']),
      verdict: z.enum(['fits', 'lacking', 'not-checked']),
      message,
    }),
  )
  .max(10)
  .optional();

export const InstanceUpgraded = fact('instance.upgraded.v1', {
  publisher: 'lifecycle',
  subject: 'instance',
  subjectOf: ofInstance,
  why: 'An instance runs on another image, or a rehearsal of that went well.',
  data: z.object({
    ...operation,
    image: word(256),
    previousImage: word(256),
    rehearsed: z.boolean(),
    /** What its log warned of, a line each. */
    warnings: z.array(z.string().max(500)).max(50),
    preflight,
  }),
});

export const InstanceUpgradeFailed = fact('instance.upgrade-failed.v1', {
  publisher: 'lifecycle',
  subject: 'instance',
  subjectOf: ofInstance,
  why: 'An instance is not on the image it was to run on.',
  data: z.object({
    ...operation,
    code,
    fault,
    message,
    /** It runs on its old image, and nothing of it was changed. */
    rolledBack: z.boolean(),
    /** The last lines of what failed. */
    log: z.string().max(8_000),
    preflight,
  }),
});

export const InstanceRenamed = fact('instance.renamed.v1', {
  publisher: 'lifecycle',
  subject: 'instance',
  subjectOf: ofInstance,
  why: 'An instance is found at another host name, or at other domains of its customer’s beside it.',
  data: z.object({
    ...operation,
    host: word(253),
    /** The same: only the domains are others. */
    previousHost: word(253),
    url: z.url(),
    /** All that it has; absent: it has none. */
    customDomains: customDomains(word(253)).optional(),
  }),
});

/**
 * How the footprint that it was switched to was seen to be good: it answered, a node that runs nothing said so, or it is not
 * to run, and only its Secret, role, database and volume were there.
 */
const verified = z.enum(['http', 'pod-condition', 'not-started']).optional();

const standing = {
  ...operation,
  token: word(128),
  purpose: word(64),
  deadline: time,
  footprintId,
  database: word(63),
  volumeClaim: word(253),
};

export const InstanceQuiesced = fact('instance.quiesced.v1', {
  publisher: 'lifecycle',
  subject: 'instance',
  subjectOf: ofInstance,
  why: 'Nothing of an instance runs or can write, until it is released or the deadline has passed.',
  data: z.object(standing),
});

export const InstanceReleased = fact('instance.released.v1', {
  publisher: 'lifecycle',
  subject: 'instance',
  subjectOf: ofInstance,
  why: 'An instance is as it was before it was quiesced, because it was released or the deadline has passed.',
  data: z.object({
    ...standing,
    expired: z.boolean(),
    /** Absent: it was not switched. */
    verified,
  }),
});

export const InstanceSwitchedBack = fact('instance.switched-back.v1', {
  publisher: 'lifecycle',
  subject: 'instance',
  subjectOf: ofInstance,
  why: 'An instance lives again where it lived before it was switched.',
  data: z.object({
    ...operation,
    footprintId,
    previousFootprintId: footprintId,
    /** Absent: it lived there already. */
    verified,
  }),
});

export const InstanceTerminationScheduled = fact('instance.termination-scheduled.v1', {
  publisher: 'lifecycle',
  subject: 'instance',
  subjectOf: ofInstance,
  why: 'An instance stands still and will be destroyed, not before a date and not without a verified backup.',
  data: z.object({ ...operation, purgeNotBefore: time, finalBackupId: word(128).optional() }),
});

export const InstanceTerminationCancelled = fact('instance.termination-cancelled.v1', {
  publisher: 'lifecycle',
  subject: 'instance',
  subjectOf: ofInstance,
  why: 'An instance is not destroyed after all.',
  data: z.object(operation),
});

export const InstanceOperationRefused = fact('instance.operation-refused.v1', {
  publisher: 'lifecycle',
  subject: 'instance',
  subjectOf: ofInstance,
  why: 'What was asked of an instance is not done, and nothing was changed.',
  data: z.object({ instanceId, operationId: word(128), operation: word(64), code, fault, message }),
});

export const InstanceOperationFailed = fact('instance.operation-failed.v1', {
  publisher: 'lifecycle',
  subject: 'instance',
  subjectOf: ofInstance,
  why: 'What was asked of an instance was begun and could not be brought to its end.',
  data: z.object({ ...operation, operation: word(64), code, fault, message }),
});
