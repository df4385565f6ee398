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

const sentences: Readonly<Record<string, (data: Data) => Told>> = {
  'instance.placed': (data) => plain(`Accepted: ${data.host} in cell ${data.cell}, database on ${data.databaseShard}.`),
  'instance.placement-deferred': (data) => ({
    summary: `Accepted, and waits for room: ${data.message}.`,
    reason: data.reason,
    fault: 'platform',
  }),
  'instance.refused': (data) => ({ summary: `Refused: ${data.message}.`, reason: data.code, fault: data.fault }),
  'instance.provisioning-started': () => plain('It is being made.'),
  'instance.provisioning-progressed': (data) =>
    data.condition
      ? {
          summary: `Step ${data.step} waits: ${data.condition.message}.`,
          reason: data.condition.reason,
          fault: data.condition.fault,
        }
      : plain(`Step ${data.step} is done after ${data.durationMs} ms.`),
  'instance.provisioning-failed': (data) => ({
    summary: `Given up: ${data.message}.`,
    reason: data.code,
    fault: data.fault,
  }),
  'instance.ready': (data) =>
    plain(
      data.verified === 'http'
        ? `Ready at ${data.url}; it answered.`
        : `Ready at ${data.url}, as a simulated node says; nothing runs there.`,
    ),
  'instance.state-changed': (data) => ({ ...plain(`It is ${data.state}: ${data.reason}.`), reason: data.reason }),
  'instance.terminated': () => plain('Nothing is left of it.'),
  'host.released': (data) => plain(`Its name ${data.host} is free after a rest.`),
};

/** @param key the fact's routing key. */
export function tell(key: string, data: unknown): Told & { readonly fact: string } {
  const fact = key.replace(/\.v\d+$/, '');
  return { fact, ...(sentences[fact]?.(data) ?? plain(`${fact} was said.`)) };
}
