import { z } from 'zod';
import { request } from './contract.js';
import { anyText, customerId, instanceId, text } from './fields.js';

/** passlib's pbkdf2_sha512: rounds, 8 to 64 bytes of salt, 64 bytes of sum, in its own base64. */
const passwordHash = z.string().regex(/^\$pbkdf2-sha512\$[1-9][0-9]{3,6}\$[A-Za-z0-9./]{11,86}\$[A-Za-z0-9./]{86}$/);

/**
 * What another service of the platform sends. Slug, plan, version, bundle and language are only words here: that they
 * exist is the planner's to judge, who answers a wrong one with a refusal instead of letting it be parked.
 */
export const InstanceRequested = request('instance.requested.v1', {
  owner: 'capacity-planner',
  answeredBy: ['instance.placed.v1', 'instance.refused.v1'],
  why: 'A customer is to have an Odoo.',
  data: z.object({
    /** Chosen by who asks: the same id with the same content is one instance, with other content it is refused. */
    instanceId,
    slug: anyText(255),
    customerId,
    plan: anyText(64),
    odooVersion: anyText(16),
    bundle: anyText(64).default('apps'),
    company: text(128),
    adminLogin: text(254),
    /** Absent: the customer sets the first password by mail. A plain password is never in a message. */
    adminPasswordHash: passwordHash.optional(),
    language: anyText(16).default('en_US'),
    /** ISO 3166-1, two letters. */
    country: z
      .string()
      .regex(/^[A-Z]{2}$/)
      .nullish(),
    externalRef: text(128).nullish(),
  }),
});

export const InstanceProvisionRetryRequested = request('instance.provision-retry-requested.v1', {
  owner: 'provisioner',
  why: 'A provisioning that was given up is to be taken up again.',
  data: z.object({ instanceId, reason: text(500) }),
});

/**
 * No fact under this request's id is its answer, because each is said once: who asks hears `instance.provisioning-cancelled`
 * or `instance.ready`, one of them and never both; the latter may have been said before it asked. Until it has heard one
 * it asks again.
 */
export const InstanceProvisioningCancelRequested = request('instance.provisioning-cancel-requested.v1', {
  owner: 'provisioner',
  believedFrom: ['lifecycle'],
  why: 'An instance that is not Ready yet is not wanted any more.',
  data: z.object({ instanceId, reason: text(500) }),
});
