import { z } from 'zod';
import { request } from './contract.js';
import { anyText, customDomains, footprintId, instanceId, text, time, word } from './fields.js';

/** Why an instance is suspended; only billing or an operator lifts it. */
export const suspensionReasons = ['unpaid', 'abuse', 'operator'] as const;

/**
 * Of every request to lifecycle. The envelope's `time` orders those of one requester; without it, their arrival.
 * `requestedBy`: a person, or the service that asks for one; absent: the message's source.
 */
const asked = { instanceId, requestedBy: text(128).optional(), reason: text(500) };

const unanswered = ['instance.operation-refused.v1', 'instance.operation-failed.v1'] as const;

export const InstanceStartRequested = request('instance.start-requested.v1', {
  owner: 'lifecycle',
  answeredBy: ['instance.started.v1', ...unanswered],
  why: 'An instance is to run.',
  data: z.object(asked),
});

export const InstanceStopRequested = request('instance.stop-requested.v1', {
  owner: 'lifecycle',
  answeredBy: ['instance.stopped.v1', ...unanswered],
  why: 'An instance is to stand still until somebody starts it.',
  data: z.object(asked),
});

export const InstanceRestartRequested = request('instance.restart-requested.v1', {
  owner: 'lifecycle',
  answeredBy: ['instance.restarted.v1', ...unanswered],
  why: 'An instance that runs is to begin anew.',
  data: z.object(asked),
});

export const InstanceSuspendRequested = request('instance.suspend-requested.v1', {
  owner: 'lifecycle',
  answeredBy: ['instance.suspended.v1', ...unanswered],
  why: 'An instance is not to run until billing or an operator says so.',
  data: z.object({ ...asked, why: z.enum(suspensionReasons) }),
});

export const InstanceResumeRequested = request('instance.resume-requested.v1', {
  owner: 'lifecycle',
  answeredBy: ['instance.resumed.v1', ...unanswered],
  why: 'What suspended an instance is settled.',
  data: z.object(asked),
});

export const InstanceResizeRequested = request('instance.resize-requested.v1', {
  owner: 'lifecycle',
  answeredBy: ['instance.resized.v1', ...unanswered],
  why: 'An instance is to have another plan, in its newest version.',
  data: z.object({ ...asked, plan: anyText(64) }),
});

export const InstanceUpgradeRequested = request('instance.upgrade-requested.v1', {
  owner: 'lifecycle',
  answeredBy: ['instance.upgraded.v1', 'instance.upgrade-failed.v1', 'instance.operation-refused.v1'],
  why: 'An instance is to run on another image of the same Odoo version.',
  data: z.object({
    ...asked,
    /** Image with its tag. */
    to: word(256),
    /** Absent: all. */
    modules: z
      .array(z.string().regex(/^[a-z][a-z0-9_]{0,63}$/))
      .min(1)
      .max(500)
      .optional(),
    /** On a neutralised copy, and only to tell how it went. */
    rehearse: z.boolean().default(false),
  }),
});

export const InstanceRenameRequested = request('instance.rename-requested.v1', {
  owner: 'lifecycle',
  answeredBy: ['instance.renamed.v1', ...unanswered],
  why: 'An instance is to be found at another host name, or at other domains of its customer’s beside it.',
  data: z.object({
    ...asked,
    /** Absent: the one that it has. */
    slug: anyText(255).optional(),
    /** All that it is to have; absent: those that it has. */
    customDomains: customDomains(anyText(255)).optional(),
  }),
});

export const InstanceQuiesceRequested = request('instance.quiesce-requested.v1', {
  owner: 'lifecycle',
  answeredBy: ['instance.quiesced.v1', ...unanswered],
  why: 'Somebody needs an instance to stand still, so that nothing writes while they work.',
  data: z.object({
    ...asked,
    /** In a word, for instance `restore`. */
    purpose: word(64),
    /** The instance runs again then, whoever still works. */
    deadline: time,
  }),
});

export const InstanceReleaseRequested = request('instance.release-requested.v1', {
  owner: 'lifecycle',
  answeredBy: ['instance.released.v1', ...unanswered],
  why: 'Whoever needed an instance to stand still is done.',
  data: z.object({
    ...asked,
    /** As `instance.quiesced` gave it. */
    token: word(128),
    /** The one to switch to; absent: the one it had. */
    footprintId: footprintId.optional(),
  }),
});

export const InstanceSwitchBackRequested = request('instance.switch-back-requested.v1', {
  owner: 'lifecycle',
  answeredBy: ['instance.switched-back.v1', ...unanswered],
  why: 'An instance is to live again where it lived before it was switched.',
  data: z.object({
    ...asked,
    /** The one it lived in before. */
    footprintId,
  }),
});

export const InstanceTerminationRequested = request('instance.termination-requested.v1', {
  owner: 'lifecycle',
  answeredBy: ['instance.termination-scheduled.v1', ...unanswered],
  why: 'A contract has ended: an instance is to be destroyed after a grace.',
  data: z.object({
    ...asked,
    /** Not before then; absent: after the mesh’s own grace. */
    at: time.optional(),
  }),
});

export const InstanceTerminationCancelRequested = request('instance.termination-cancel-requested.v1', {
  owner: 'lifecycle',
  answeredBy: ['instance.termination-cancelled.v1', ...unanswered],
  why: 'An instance that is to be destroyed is to be kept after all.',
  data: z.object(asked),
});
