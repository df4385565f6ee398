import { z } from 'zod';
import { request } from './contract.js';
import { footprintId, instanceId, plan, purpose, template, text, word } from './fields.js';

export const FootprintRequested = request('footprint.requested.v1', {
  owner: 'capacity-planner',
  believedFrom: ['backup', 'lifecycle'],
  answeredBy: ['footprint.placed.v1', 'footprint.refused.v1'],
  why: 'An instance’s data is to be brought to a place beside it: a footprint with an empty database and an empty volume, in which nothing runs.',
  data: z.object({
    /** Chosen by who asks: the same id twice is one footprint. */
    footprintId,
    purpose: purpose.exclude(['spare']),
    /** Whose data it is for; it is placed near that instance. */
    instanceId,
    /** What is to run there; its database is not copied. */
    template,
    /** Absent: the instance’s. */
    plan: plan.optional(),
  }),
});

export const FootprintRemovalRequested = request('footprint.removal-requested.v1', {
  owner: 'provisioner',
  believedFrom: ['capacity-planner', 'lifecycle', 'backup'],
  answeredBy: ['footprint.removed.v1', 'footprint.removal-refused.v1'],
  why: 'A footprint that no instance lives in is not wanted any more.',
  data: z.object({
    footprintId,
    reason: text(500),
    /** Of which there may be more than one, where an instance lived or an upgrade was rehearsed; absent: the first one. */
    secrets: z.array(word(253)).max(16).optional(),
  }),
});
