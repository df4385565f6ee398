import { z } from 'zod';
import { fact, request } from './contract.js';

const text = (max: number) => z.string().min(1).max(max);
const instanceId = z.uuid();
const footprintId = z.uuid();
const fault = z.enum(['user', 'platform', 'provider']);
const plan = z.object({ name: text(64), version: z.int().positive() });
const template = z.object({
  image: text(256),
  version: text(16),
  bundle: text(64),
  language: text(16),
  database: text(63),
});
const condition = z.object({ reason: text(64), message: z.string().max(2000), since: z.iso.datetime(), fault });
const bySubject = (data: { instanceId: string }) => data.instanceId;

export const InstanceRequested = request('instance.requested.v1', {
  owner: 'capacity-planner',
  why: 'A customer is to have an Odoo.',
  data: z.object({
    instanceId,
    slug: z.string().max(255),
    customerId: text(64),
    plan: text(64),
    odooVersion: text(16),
    bundle: text(64).default('apps'),
    company: text(128),
    adminLogin: text(254),
    adminPasswordHash: z
      .string()
      .regex(/^\$pbkdf2-sha512\$\d{4,8}\$[A-Za-z0-9./]{8,64}\$[A-Za-z0-9./]{86}$/)
      .optional(),
    language: text(16).default('en_US'),
    country: z.string().length(2).nullish(),
    externalRef: text(128).nullish(),
  }),
});
export const InstancePlaced = fact('instance.placed.v1', {
  publisher: 'capacity-planner',
  subject: 'instance',
  subjectOf: bySubject,
  whole: true,
  why: 'An instance has its place.',
  data: z.object({
    instanceId,
    requestId: text(128),
    specification: InstanceRequested.data,
    footprintId,
    claim: z.enum(['new', 'spare', 'footprint']),
    cell: text(64),
    namespace: text(63),
    databaseShard: text(64),
    template,
    host: text(253),
    plan,
    reasons: z.array(z.string()),
  }),
});
export const InstanceRefused = fact('instance.refused.v1', {
  publisher: 'capacity-planner',
  subject: 'request',
  subjectOf: (d) => d.requestId,
  why: 'A request was refused.',
  data: z.object({ requestId: text(128), instanceId, code: text(64), fault, message: z.string() }),
});
export const InstancePlacementDeferred = fact('instance.placement-deferred.v1', {
  publisher: 'capacity-planner',
  subject: 'instance',
  subjectOf: bySubject,
  why: 'There is no place yet.',
  data: z.object({ instanceId, reason: text(64), message: z.string(), retryAt: z.iso.datetime() }),
});
export const CellChanged = fact('cell.changed.v1', {
  publisher: 'capacity-planner',
  subject: 'cell',
  subjectOf: (d) => d.cell,
  whole: true,
  why: 'A cell opened, closed or filled.',
  data: z.object({
    cell: text(64),
    namespace: text(63),
    open: z.boolean(),
    places: z.int(),
    reserved: z.int(),
    shards: z.array(text(64)),
  }),
});
export const HostReleased = fact('host.released.v1', {
  publisher: 'capacity-planner',
  subject: 'host',
  subjectOf: (d) => d.host,
  why: 'A host name is free after its rest.',
  data: z.object({ host: text(253), instanceId }),
});
export const InstanceProvisioningStarted = fact('instance.provisioning-started.v1', {
  publisher: 'provisioner',
  subject: 'instance',
  subjectOf: bySubject,
  why: 'The footprint is being made.',
  data: z.object({ instanceId, footprintId, steps: z.array(text(64)) }),
});
export const InstanceProvisioningProgressed = fact('instance.provisioning-progressed.v1', {
  publisher: 'provisioner',
  subject: 'instance',
  subjectOf: bySubject,
  why: 'A step is done or waits.',
  data: z.object({
    instanceId,
    footprintId,
    step: text(64),
    steps: z.array(text(64)),
    durationMs: z.int().nonnegative().optional(),
    condition: condition.optional(),
  }),
});
export const InstanceProvisioningFailed = fact('instance.provisioning-failed.v1', {
  publisher: 'provisioner',
  subject: 'instance',
  subjectOf: bySubject,
  why: 'Provisioning came to an end without an instance.',
  data: z.object({ instanceId, footprintId, code: text(64), fault, retryable: z.boolean(), message: z.string() }),
});
export const InstanceReady = fact('instance.ready.v1', {
  publisher: 'provisioner',
  subject: 'instance',
  subjectOf: bySubject,
  whole: true,
  why: 'The instance can be used.',
  data: z.object({
    instanceId,
    footprintId,
    customerId: text(64),
    externalRef: z.string().nullish(),
    cell: text(64),
    namespace: text(63),
    databaseShard: text(64),
    database: text(63),
    role: text(63),
    secret: text(253),
    volumeClaim: text(253),
    host: text(253),
    url: z.string(),
    plan,
    template,
    uuid: z.string(),
    verified: z.enum(['http', 'pod-condition']),
    claim: z.enum(['new', 'spare', 'footprint']),
    timings: z.record(z.string(), z.number()),
  }),
});
export const InstancePurgeApproved = fact('instance.purge-approved.v1', {
  publisher: 'lifecycle',
  subject: 'instance',
  subjectOf: bySubject,
  why: 'This footprint may be destroyed.',
  data: z.object({
    instanceId,
    footprintId,
    cell: text(64),
    databaseShard: text(64),
    database: text(63),
    backupId: text(128).optional(),
    neverReady: z.boolean().optional(),
    approvalId: text(128),
    expiresAt: z.iso.datetime(),
  }),
});
export const InstanceTerminated = fact('instance.terminated.v1', {
  publisher: 'provisioner',
  subject: 'instance',
  subjectOf: bySubject,
  why: 'Nothing is left of the instance.',
  data: z.object({ instanceId, approvalId: text(128), removed: z.array(text(64)) }),
});
export const TemplatePublished = fact('template.published.v1', {
  publisher: 'provisioner',
  subject: 'template',
  subjectOf: (d) => `${d.databaseShard}/${d.template.database}`,
  why: 'Instances can be made of this template.',
  data: z.object({ template, databaseShard: text(64), madeAt: z.iso.datetime() }),
});
