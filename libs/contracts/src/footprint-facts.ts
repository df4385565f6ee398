import { z } from 'zod';
import { fact } from './contract.js';
import { fault, footprintId, instanceId, plan, purpose, template, word } from './fields.js';

const ofFootprint = (data: { readonly footprintId: string }) => data.footprintId;

const place = {
  footprintId,
  purpose,
  cell: word(64),
  namespace: word(63),
  databaseShard: word(64),
  template,
  plan,
  /** Whose data it is for; a spare is for nobody’s. */
  sourceInstanceId: instanceId.optional(),
};
const code = word(64);
const message = z.string().max(2_000);

export const FootprintPlaced = fact('footprint.placed.v1', {
  publisher: 'capacity-planner',
  subject: 'footprint',
  subjectOf: ofFootprint,
  whole: true,
  why: 'A footprint that is no instance’s yet has its place, so that it can be made there.',
  data: z.object(place),
});

export const FootprintReady = fact('footprint.ready.v1', {
  publisher: 'provisioner',
  subject: 'footprint',
  subjectOf: ofFootprint,
  whole: true,
  why: 'A footprint that is no instance’s yet stands and can be had.',
  data: z.object({ ...place, database: word(63), role: word(63), secret: word(253), volumeClaim: word(253) }),
});

export const FootprintRemoved = fact('footprint.removed.v1', {
  publisher: 'provisioner',
  subject: 'footprint',
  subjectOf: ofFootprint,
  whole: true,
  replaces: ['footprint.ready.v1', 'footprint.failed.v1'],
  why: 'Nothing is left of a footprint that no instance lived in, or none any more.',
  data: z.object({
    footprintId,
    /** `instance`: one lived in it before it was switched to another. */
    purpose: z.enum([...purpose.options, 'instance']),
  }),
});

export const FootprintFailed = fact('footprint.failed.v1', {
  publisher: 'provisioner',
  subject: 'footprint',
  subjectOf: ofFootprint,
  whole: true,
  why: 'The making of a footprint that is no instance’s yet was given up.',
  data: z.object({ footprintId, purpose, code, fault, message }),
});

export const FootprintRemovalRefused = fact('footprint.removal-refused.v1', {
  publisher: 'provisioner',
  // The request, never the footprint: a wrong one must not touch a living one.
  subject: 'request',
  subjectOf: (data) => data.requestId,
  why: 'A footprint is not removed, because an instance lives in it or because who asks did not have it made.',
  data: z.object({ requestId: word(128), footprintId, code, fault, message }),
});

export const FootprintRefused = fact('footprint.refused.v1', {
  publisher: 'capacity-planner',
  subject: 'request',
  subjectOf: (data) => data.requestId,
  why: 'There is no place for a footprint.',
  data: z.object({ requestId: word(128), footprintId, code, fault, message }),
});
