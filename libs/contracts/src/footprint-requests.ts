import { z } from 'zod';
import { request } from './contract.js';
import { footprintId, text } from './fields.js';

export const FootprintRemovalRequested = request('footprint.removal-requested.v1', {
  owner: 'provisioner',
  believedFrom: ['capacity-planner'],
  why: 'A footprint that never was an instance’s is not wanted any more.',
  data: z.object({ footprintId, reason: text(500) }),
});
