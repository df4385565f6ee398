import { z } from 'zod';
import { fact } from './contract.js';
import { footprintId, plan, purpose, template, word } from './fields.js';

const ofFootprint = (data: { readonly footprintId: string }) => data.footprintId;

const place = {
  footprintId,
  purpose,
  cell: word(64),
  namespace: word(63),
  databaseShard: word(64),
  template,
  plan,
};

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
  replaces: ['footprint.ready.v1'],
  why: 'Nothing is left of a footprint that never was an instance’s.',
  data: z.object({ footprintId, purpose }),
});
