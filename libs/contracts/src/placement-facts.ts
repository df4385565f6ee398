import { z } from 'zod';
import { fact } from './contract.js';
import { claim, fault, footprintId, instanceId, ofInstance, plan, template, time, word } from './fields.js';
import { InstanceRequested } from './instance-requests.js';

export const InstancePlaced = fact('instance.placed.v1', {
  publisher: 'capacity-planner',
  subject: 'instance',
  subjectOf: ofInstance,
  whole: true,
  why: 'A request was accepted and has its place, so that the instance can be made there.',
  data: z.object({
    instanceId,
    requestId: word(128),
    /** Whole, as it was accepted. */
    specification: InstanceRequested.data,
    footprintId,
    claim,
    cell: word(64),
    namespace: word(63),
    databaseShard: word(64),
    template,
    host: word(253),
    plan,
    /** Why here, for a person. */
    reasons: z.array(z.string().max(500)),
  }),
});

export const InstanceRefused = fact('instance.refused.v1', {
  publisher: 'capacity-planner',
  // The request, never the instance: a wrong repeat must not touch a living one.
  subject: 'request',
  subjectOf: (data) => data.requestId,
  why: 'A request for an instance will not be fulfilled as it is.',
  data: z.object({ requestId: word(128), instanceId, code: word(64), fault, message: z.string().max(2_000) }),
});

export const InstancePlacementDeferred = fact('instance.placement-deferred.v1', {
  publisher: 'capacity-planner',
  subject: 'instance',
  subjectOf: ofInstance,
  why: 'A request was accepted, but there is no place for the instance just now.',
  data: z.object({ instanceId, reason: word(64), message: z.string().max(2_000), retryAt: time }),
});

export const CellChanged = fact('cell.changed.v1', {
  publisher: 'capacity-planner',
  subject: 'cell',
  subjectOf: (data) => data.cell,
  whole: true,
  why: 'A cell was opened or closed, or its places were taken or given back.',
  data: z.object({
    cell: word(64),
    namespace: word(63),
    open: z.boolean(),
    places: z.int().nonnegative(),
    reserved: z.int().nonnegative(),
    shards: z.array(word(64)),
  }),
});

export const HostReleased = fact('host.released.v1', {
  publisher: 'capacity-planner',
  subject: 'host',
  subjectOf: (data) => data.host,
  why: 'A host name is nobody’s any more, and one below the mesh’s domain rests before somebody else may have it.',
  data: z.object({
    host: word(253),
    instanceId,
    /** Absent: anybody may have it only after a rest. */
    atOnce: z.boolean().optional(),
  }),
});

export const PlacementChanged = fact('placement.changed.v1', {
  publisher: 'capacity-planner',
  subject: 'instance',
  subjectOf: ofInstance,
  why: 'There is room for an instance on another plan, and it is reserved.',
  data: z.object({ instanceId, plan }),
});

export const PlacementChangeRefused = fact('placement.change-refused.v1', {
  publisher: 'capacity-planner',
  subject: 'instance',
  subjectOf: ofInstance,
  why: 'An instance cannot have another plan where it is.',
  data: z.object({ instanceId, code: word(64), fault, message: z.string().max(2_000) }),
});

export const HostReserved = fact('host.reserved.v1', {
  publisher: 'capacity-planner',
  subject: 'host',
  subjectOf: (data) => data.host,
  why: 'A host name is an instance’s.',
  data: z.object({
    host: word(253),
    instanceId,
    /** By which it was reserved last; absent: said by a release of before there were customers' domains. */
    requestId: word(128).optional(),
  }),
});

export const HostReservationRefused = fact('host.reservation-refused.v1', {
  publisher: 'capacity-planner',
  // The request, never the host: who asks for another's name must not touch it.
  subject: 'request',
  subjectOf: (data) => data.requestId,
  why: 'An instance does not get a host name.',
  data: z.object({
    requestId: word(128),
    instanceId,
    host: z.string().max(512),
    code: word(64),
    fault,
    message: z.string().max(2_000),
  }),
});
