import * as backupFacts from './backup-facts.js';
import * as backupRequests from './backup-requests.js';
import type { Contract, Service } from './contract.js';
import * as footprintFacts from './footprint-facts.js';
import * as footprintRequests from './footprint-requests.js';
import * as instanceRequests from './instance-requests.js';
import * as lifecycleFacts from './lifecycle-facts.js';
import * as lifecycleRequests from './lifecycle-requests.js';
import * as placementFacts from './placement-facts.js';
import * as placementRequests from './placement-requests.js';
import * as provisioningFacts from './provisioning-facts.js';
import * as republishRequests from './republish-requests.js';

/** Every message of the mesh, by its key. */
export const registry: readonly Contract[] = [
  instanceRequests,
  footprintRequests,
  footprintFacts,
  placementFacts,
  provisioningFacts,
  lifecycleRequests,
  lifecycleFacts,
  placementRequests,
  backupRequests,
  backupFacts,
  republishRequests,
]
  .flatMap((file) => Object.values(file) as unknown[])
  .filter(isContract)
  .sort((a, b) => (a.key < b.key ? -1 : 1));

/** The files of contracts also hold the words that their fields may have. */
function isContract(value: unknown): value is Contract {
  return typeof value === 'object' && value !== null && 'kind' in value;
}

/** Facts that answer a request, by its id as their `causationid`. */
export const answerKeys: ReadonlySet<string> = new Set(
  registry.flatMap((one) => (one.kind === 'request' ? (one.answeredBy ?? []) : [])),
);

/** No programs yet: nobody says their facts, so nobody waits for them to say any again. */
const notYet: readonly Service[] = ['health-monitor', 'billing-bridge'];

/** Who says facts of this kind again when somebody asks for them. */
export function ownersOf(subjectKind: string): Service[] {
  const owners = registry.flatMap((one) =>
    one.kind === 'fact' && one.whole && one.subject === subjectKind && one.publisher !== 'every-owner'
      ? [one.publisher]
      : [],
  );
  return [...new Set(owners)].filter((one) => !notYet.includes(one));
}

/** The requests of others that a service sends; facts are sent by their publisher alone. */
const requestsSentBy: Partial<Record<Service, readonly string[]>> = {
  'api-gateway': [
    'instance.requested.v1',
    ...['start', 'stop', 'restart', 'suspend', 'resume', 'resize', 'upgrade', 'rename', 'termination'].map(
      (what) => `instance.${what}-requested.v1`,
    ),
    'instance.termination-cancel-requested.v1',
    'instance.switch-back-requested.v1',
    'instance.provision-retry-requested.v1',
    'backup.requested.v1',
    'backup.hold-requested.v1',
    'backup.hold-release-requested.v1',
    'restore.requested.v1',
  ],
  'capacity-planner': ['footprint.removal-requested.v1'],
  lifecycle: [
    'instance.provisioning-cancel-requested.v1',
    'placement.change-requested.v1',
    'host.reservation-requested.v1',
    'host.release-requested.v1',
    'backup.requested.v1',
    'restore.requested.v1',
    'footprint.removal-requested.v1',
  ],
  backup: [
    'footprint.requested.v1',
    'footprint.removal-requested.v1',
    'instance.quiesce-requested.v1',
    'instance.release-requested.v1',
  ],
};
const requestsOfAll = ['republish.requested.v1'];

/** What another service of the platform may ask for. */
export const requestKeys: readonly string[] = registry
  .filter((one) => one.kind === 'request' && !one.believedFrom)
  .map((one) => one.key);

/** The routing keys a service may publish: its facts, and the requests it sends. */
export function keysSaidBy(service: Service): string[] {
  const facts = registry.filter((one) => one.kind === 'fact' && one.publisher === service).map((one) => one.key);
  return [...facts, ...(requestsSentBy[service] ?? []), ...requestsOfAll];
}

/** The same as RabbitMQ's topic permissions want it: a regular expression. */
export function topicWritePattern(service: Service): string {
  return `^(${keysSaidBy(service)
    .map((key) => key.replaceAll('.', '\\.'))
    .join('|')})$`;
}
