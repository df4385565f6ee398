import { z } from 'zod';
import { fact } from './contract.js';
import {
  claim,
  condition,
  customerId,
  fault,
  footprintId,
  instanceId,
  ofInstance,
  plan,
  template,
  text,
  time,
  timings,
  word,
} from './fields.js';

const steps = z.array(word(64));

export const InstanceProvisioningStarted = fact('instance.provisioning-started.v1', {
  publisher: 'provisioner',
  subject: 'instance',
  subjectOf: ofInstance,
  replaces: ['instance.provisioning-failed.v1'],
  why: 'The making of an instance has begun.',
  data: z.object({ instanceId, footprintId, steps }),
});

export const InstanceProvisioningProgressed = fact('instance.provisioning-progressed.v1', {
  publisher: 'provisioner',
  subject: 'instance',
  subjectOf: ofInstance,
  why: 'A step of the making is done, or waits for a reason.',
  data: z.object({
    instanceId,
    footprintId,
    step: word(64),
    steps,
    durationMs: z.int().nonnegative().optional(),
    condition: condition.optional(),
  }),
});

export const InstanceProvisioningFailed = fact('instance.provisioning-failed.v1', {
  publisher: 'provisioner',
  subject: 'instance',
  subjectOf: ofInstance,
  whole: true,
  why: 'The making of an instance was given up.',
  data: z.object({
    instanceId,
    footprintId,
    code: word(64),
    fault,
    retryable: z.boolean(),
    message: z.string().max(2_000),
  }),
});

export const InstanceReady = fact('instance.ready.v1', {
  publisher: 'provisioner',
  subject: 'instance',
  subjectOf: ofInstance,
  whole: true,
  replaces: ['instance.provisioning-failed.v1'],
  why: 'An instance can be used.',
  data: z.object({
    instanceId,
    footprintId,
    customerId,
    externalRef: text(128).nullable(),
    cell: word(64),
    namespace: word(63),
    databaseShard: word(64),
    database: word(63),
    role: word(63),
    secret: word(253),
    volumeClaim: word(253),
    host: word(253),
    url: z.url(),
    plan,
    template,
    /** Odoo's own identity, `database.uuid`. */
    uuid: z.uuid(),
    /** `http`: a real 200 was seen. `pod-condition`: a simulated node said that the pod is Ready. */
    verified: z.enum(['http', 'pod-condition']),
    claim,
    timings,
  }),
});

export const InstanceProvisioningCancelled = fact('instance.provisioning-cancelled.v1', {
  publisher: 'provisioner',
  subject: 'instance',
  subjectOf: ofInstance,
  whole: true,
  replaces: ['instance.provisioning-failed.v1'],
  why: 'An instance will never be Ready: what was made of it is removed.',
  data: z.object({ instanceId, footprintId }),
});

export const InstanceTerminated = fact('instance.terminated.v1', {
  publisher: 'provisioner',
  subject: 'instance',
  subjectOf: ofInstance,
  whole: true,
  replaces: ['instance.provisioning-failed.v1', 'instance.provisioning-cancelled.v1', 'instance.ready.v1'],
  why: 'Nothing is left of an instance.',
  data: z.object({ instanceId, approvalId: word(128), removed: z.array(word(64)) }),
});

export const TemplatePublished = fact('template.published.v1', {
  publisher: 'provisioner',
  subject: 'template',
  subjectOf: (data) => `${data.databaseShard}/${data.template.database}`,
  whole: true,
  why: 'Instances can be made of one more template.',
  data: z.object({
    template,
    databaseShard: word(64),
    madeAt: time,
    /** How many templates there are now, on all shards: who knows fewer has not heard of all of them yet. */
    catalogue: z.int().positive(),
  }),
});
