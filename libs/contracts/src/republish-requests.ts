import { z } from 'zod';
import { fact, request, services } from './contract.js';
import { word } from './fields.js';

/** Each owner answers by sending its current facts, as they were said, to that one queue. */
export const RepublishRequested = request('republish.requested.v1', {
  owner: 'every-owner',
  believedFrom: services,
  answeredBy: ['republish.completed.v1'],
  repeatable: true,
  why: 'A service that was born late, or lost its queue, needs the current facts.',
  data: z.object({
    /** The asking service's own queue of facts. */
    subscription: word(128),
    /** What the facts are about, for instance `instance`. */
    subjectKind: word(64),
    /** Only those said from then on. */
    since: z.iso.datetime().optional(),
  }),
});

/** Comes after the facts themselves, by the same way: who hears it has been sent all of them. */
export const RepublishCompleted = fact('republish.completed.v1', {
  publisher: 'every-owner',
  subject: 'request',
  subjectOf: (data) => data.requestId,
  why: 'An owner has said all its current facts of a kind again.',
  data: z.object({ requestId: word(128), subjectKind: word(64), facts: z.int().nonnegative() }),
});
