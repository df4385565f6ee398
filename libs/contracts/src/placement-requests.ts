import { z } from 'zod';
import { request } from './contract.js';
import { anyText, customDomains, instanceId, text, word } from './fields.js';

export const PlacementChangeRequested = request('placement.change-requested.v1', {
  owner: 'capacity-planner',
  believedFrom: ['lifecycle'],
  answeredBy: ['placement.changed.v1', 'placement.change-refused.v1'],
  why: 'An instance is to have another plan, and a bigger one needs room.',
  data: z.object({ instanceId, plan: anyText(64) }),
});

export const HostReservationRequested = request('host.reservation-requested.v1', {
  owner: 'capacity-planner',
  believedFrom: ['lifecycle'],
  answeredBy: ['host.reserved.v1', 'host.reservation-refused.v1'],
  why: 'An instance is to be found at another name below the mesh’s domain, or at domains of its customer’s: all or none.',
  data: z.object({
    instanceId,
    slug: anyText(255).optional(),
    /** Those that it has not yet. */
    customDomains: customDomains(anyText(255)).optional(),
  }),
});

export const HostReleaseRequested = request('host.release-requested.v1', {
  owner: 'capacity-planner',
  believedFrom: ['lifecycle'],
  // The latter: it was reserved anew meanwhile, and stays so.
  answeredBy: ['host.released.v1', 'host.reserved.v1'],
  why: 'An instance does not need a host name any more.',
  data: z.object({
    instanceId,
    host: word(253),
    reason: text(500),
    /** Of a customer's domain: the request by which it was reserved. One of a later request is not meant. */
    reservation: word(128).optional(),
  }),
});
