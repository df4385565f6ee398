/** One fact about an instance, as a person reads it. */
export interface TimelineEntry {
  readonly id: string;
  /** `instance.ready`: the fact without its version. */
  readonly fact: string;
  /** When its publisher said it. */
  readonly at: Date;
  /** The service that said it. */
  readonly who: string;
  /** In one sentence. */
  readonly summary: string;
  /** The code of a wait, a refusal or a failure. */
  readonly reason: string | null;
  readonly fault: 'user' | 'platform' | 'provider' | null;
  /** The id of the request that started it all. */
  readonly operationId: string;
  readonly traceId: string | null;
}

type Told = Pick<TimelineEntry, 'summary' | 'reason' | 'fault'>;
// biome-ignore lint/suspicious/noExplicitAny: facts of all kinds, each read by the fields of its own contract
type Data = any;

const plain = (summary: string): Told => ({ summary, reason: null, fault: null });
/** Of facts that say why not. */
const failed = (summary: string, { code, fault }: Data): Told => ({ summary, reason: code, fault });
/** 0: it was so already. */
const after = ({ durationMs }: Data) => (durationMs === 0 ? ', as before' : ` after ${durationMs} ms`);

/** How a footprint that it was switched to was seen to be good. */
const seenBy = (verified: string | undefined) =>
  ({
    http: ', and answered there',
    'pod-condition': ', as a simulated node says',
    'not-started': ', and stands still there',
  })[verified ?? ''] ?? '';

const sentences: Readonly<Record<string, (data: Data) => Told>> = {
  'instance.placed': (data) => plain(`Accepted: ${data.host} in cell ${data.cell}, database on ${data.databaseShard}.`),
  'instance.placement-deferred': (data) => ({
    summary: `Accepted, and waits for room: ${data.message}.`,
    reason: data.reason,
    fault: 'platform',
  }),
  'instance.refused': (data) => failed(`Refused: ${data.message}.`, data),
  'instance.provisioning-started': () => plain('It is being made.'),
  'instance.provisioning-progressed': (data) =>
    data.condition
      ? {
          summary: `Step ${data.step} waits: ${data.condition.message}.`,
          reason: data.condition.reason,
          fault: data.condition.fault,
        }
      : plain(`Step ${data.step} is done after ${data.durationMs} ms.`),
  'instance.provisioning-failed': (data) => failed(`Given up: ${data.message}.`, data),
  'instance.provisioning-cancelled': () => plain('It is not made any further; what there is of it is removed.'),
  'instance.ready': (data) =>
    plain(
      data.verified === 'http'
        ? `Ready at ${data.url}; it answered.`
        : `Ready at ${data.url}, as a simulated node says; nothing runs there.`,
    ),
  'instance.state-changed': (data) => ({ ...plain(`It is ${data.state}: ${data.reason}.`), reason: data.reason }),
  'instance.started': (data) => plain(`It runs${after(data)}.`),
  'instance.stopped': (data) => plain(`It stands still${after(data)}.`),
  'instance.restarted': (data) => plain(`It has begun anew${after(data)}.`),
  'instance.suspended': (data) => ({
    summary: `It is suspended${after(data)}: ${data.why}.`,
    reason: data.why,
    fault: data.why === 'operator' ? 'platform' : 'user',
  }),
  'instance.resumed': (data) => plain(`It is not suspended any more${after(data)}.`),
  'instance.resized': ({ plan, previousPlan }) =>
    plain(`It has the plan ${plan.name} (${plan.version}) instead of ${previousPlan.name} (${previousPlan.version}).`),
  'instance.upgraded': ({ rehearsed, image, previousImage, warnings }) => {
    const warned = warnings.length > 0 ? `, with ${warnings.length} warnings` : '';
    if (rehearsed) return plain(`A rehearsal of the upgrade to ${image} went well${warned}.`);
    return plain(`It runs on ${image} instead of ${previousImage}${warned}.`);
  },
  'instance.upgrade-failed': (data) => {
    const left = data.rolledBack ? 'it runs on its old image, and nothing was changed' : 'it is not on its old image';
    return failed(`The upgrade failed, and ${left}: ${data.message}.`, data);
  },
  'instance.renamed': ({ url, host, previousHost, customDomains = [] }) => {
    const instead = host === previousHost ? '' : ` instead of ${previousHost}`;
    const domains = customDomains.length > 0 ? `, and at ${customDomains.join(', ')}` : '';
    return plain(`It is found at ${url}${instead}${domains}.`);
  },
  'instance.quiesced': (data) => plain(`Nothing of it runs or writes, until ${data.deadline}: ${data.purpose}.`),
  'instance.released': ({ purpose, expired, verified }) => {
    if (verified) return plain(`It lives in another footprint${seenBy(verified)}: ${purpose}.`);
    return plain(
      expired ? `The deadline has passed, and it is as before: ${purpose}.` : `It is as before: ${purpose}.`,
    );
  },
  'instance.switched-back': (data) =>
    plain(`It lives again where it lived before it was switched${seenBy(data.verified)}${after(data)}.`),
  'instance.termination-scheduled': (data) =>
    plain(`It stands still, and is destroyed with a verified backup, not before ${data.purgeNotBefore}.`),
  'instance.termination-cancelled': () => plain('It is not destroyed after all.'),
  'instance.operation-refused': (data) => failed(`Refused to ${inWords(data.operation)}: ${data.message}.`, data),
  'instance.operation-failed': (data) => failed(`Failed to ${inWords(data.operation)}: ${data.message}.`, data),
  'instance.purge-approved': ({ backupId, expiresAt }) =>
    plain(`It may be destroyed until ${expiresAt}; ${backupId ? `its backup is ${backupId}` : 'it was never Ready'}.`),
  'instance.terminated': () => plain('Nothing is left of it.'),
  'placement.changed': ({ plan }) => plain(`There is room for it on the plan ${plan.name}, and it is reserved.`),
  'placement.change-refused': (data) => failed(`It cannot have another plan: ${data.message}.`, data),
  'host.reserved': (data) => plain(`The name ${data.host} is its own.`),
  'host.reservation-refused': (data) => failed(`It does not get the name ${data.host}: ${data.message}.`, data),
  'host.released': ({ host, atOnce }) => plain(`Its name ${host} is ${atOnce ? 'free' : 'free after a rest'}.`),
  'backup.completed': (data) => plain(`A backup was made (${data.why}), which shows it at ${data.takenAt}.`),
  'backup.failed': (data) => failed(`A backup (${data.why}) failed: ${data.message}.`, data),
  'backup.refused': (data) => failed(`No backup is made: ${data.message}.`, data),
  'backup.verified': ({ why, depth, offSite, rtoMs, filesSeen }) => {
    const restored = rtoMs === undefined ? 'it was restored' : `it was restored in ${rtoMs} ms`;
    const how = depth === 'full' ? restored : 'its copies were looked at';
    const without = filesSeen === 'simulated' ? ', though a simulated node has no files' : '';
    const read = offSite ? ', and the one outside of the cluster was read' : '';
    return plain(`A backup (${why}) is good: ${how}${without}${read}.`);
  },
  'backup.hold-changed': ({ held, reason }) =>
    plain(held ? `A backup is held: ${reason}.` : `A backup is held no more: ${reason}.`),
  'backup.hold-refused': (data) => failed(`A backup is neither held nor let go: ${data.message}.`, data),
  'backup.expired': ({ why, takenAt }) => plain(`The time of a backup (${why}) of ${takenAt} was over; it is gone.`),
  'backup.snapshots-removed': () => plain('No snapshot of its volume is left.'),
  'restore.progressed': ({ step, steps, message }) =>
    plain(`A restore is at step ${steps.indexOf(step) + 1} of ${steps.length} (${inWords(step)}): ${message}.`),
  'restore.completed': ({ mode, to, durationMs }) => {
    if (mode === 'clone') return plain(`A clone was made${to ? ` for ${to.slug}` : ''} of a backup of it.`);
    return plain(`It was restored (${inWords(mode)}) after ${durationMs} ms.`);
  },
  'restore.failed': (data) => failed(`A restore failed, and it is as it was: ${data.message}.`, data),
  'restore.refused': (data) => failed(`It is not restored: ${data.message}.`, data),
};

/** `cancel-termination` → `cancel termination` */
function inWords(operation: string): string {
  return operation.replaceAll('-', ' ');
}

/** @param key the fact's routing key. */
export function tell(key: string, data: unknown): Told & { readonly fact: string } {
  const fact = key.replace(/\.v\d+$/, '');
  return { fact, ...(sentences[fact]?.(data) ?? plain(`${fact} was said.`)) };
}
