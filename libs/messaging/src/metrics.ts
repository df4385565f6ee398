import { type Attributes, metrics } from '@opentelemetry/api';
import { keysSaidBy, type Service } from '#contracts/index.js';
import { type Database, Figures } from '#persistence/index.js';
import type { BrokerConnection } from './broker.js';
import { parkCodes } from './delivery.js';
import type { Subscription } from './handler.js';
import { namesOf, queueFor, queuesOf, type RetryLevel } from './topology.js';
import type { Handled } from './transport.js';

/** What waits; ages in seconds. */
interface Seen {
  readonly outbox: Row & { readonly refused: number };
  readonly asked: Row;
  /** By the queue's name. */
  readonly queues: ReadonlyMap<string, number>;
}

interface Row {
  readonly waiting: number;
  readonly oldest: number;
}

export interface MeasuredService {
  readonly service: Service;
  readonly subscriptions: readonly Subscription[];
  readonly levels: readonly RetryLevel[];
}

/**
 * Backlog, ages and ends of messages, to the meters of the process. Labels are few and bounded: queues, types, verdicts;
 * never an instance. Those that can be known before are there from the start, with zero, so that the first time is an
 * increase.
 */
export class MessagingMetrics {
  private readonly meter = metrics.getMeter('mesh.messaging');
  private readonly figures: Figures<Seen>;

  private readonly handledMessages = this.meter.createCounter('mesh.messages.handled', {
    description: 'Messages that came to a good end, by what was done with them.',
  });
  private readonly failedMessages = this.meter.createCounter('mesh.messages.failed', {
    description: 'Messages that failed: they wait for another try, or were parked.',
  });
  private readonly sentMessages = this.meter.createCounter('mesh.outbox.sent', {
    description: 'Messages that the broker has confirmed, by key; by queue, what was said again to that queue alone.',
  });
  private readonly ages = this.meter.createHistogram('mesh.message.age.seconds', {
    description: 'From when its publisher said it to when it was handled, by the clocks of both.',
    advice: { explicitBucketBoundaries: [0.01, 0.05, 0.1, 0.5, 1, 5, 30, 120, 600, 3600] },
  });
  private readonly durations = this.meter.createHistogram('mesh.message.handling.seconds', {
    description: 'How long a message was worked on that was handled, its transaction included.',
    advice: { explicitBucketBoundaries: [0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 5, 30] },
  });

  constructor(
    private readonly database: Database,
    private readonly connection: BrokerConnection,
    private readonly measured: MeasuredService,
    relays: () => boolean,
    onTrouble: (what: string, error: unknown) => void,
  ) {
    this.figures = new Figures('messages', () => this.look(), onTrouble);
    const { figures } = this;
    figures.gauge('mesh.outbox.messages', 'Said and not confirmed by the broker yet.', (seen) => seen.outbox.waiting);
    figures.gauge(
      'mesh.outbox.oldest.seconds',
      'How long the oldest of these has waited that the broker did not refuse.',
      (seen) => seen.outbox.oldest,
    );
    figures.gauge(
      'mesh.outbox.refused',
      'Of these, what the broker refused when it was sent.',
      (seen) => seen.outbox.refused,
    );
    figures.gauge('mesh.asked.requests', 'Asked and not answered yet.', (seen) => seen.asked.waiting);
    figures.gauge('mesh.asked.oldest.seconds', 'How long the oldest of these has waited.', (seen) => seen.asked.oldest);
    figures.gauge('mesh.queue.messages', 'Ready in the queue.', (seen) =>
      [...seen.queues].map(([queue, messages]) => [messages, { queue }]),
    );
    this.yesOrNo('mesh.broker.blocked', '1: the broker takes no messages.', () => Boolean(connection.blocked));
    this.yesOrNo('mesh.outbox.relaying', '1: this process sends what the outbox of its service holds.', relays);
    this.startFromZero();
  }

  start(): void {
    this.figures.start();
  }

  async stop(): Promise<void> {
    await this.figures.stop();
  }

  /** Both times in milliseconds; `ageMs` undefined: its publisher did not say when. */
  handled(queue: string, type: string, verdict: Handled, ageMs: number | undefined, tookMs: number): void {
    this.handledMessages.add(1, { queue, type, verdict });
    if (verdict !== 'handled') return;
    const labels: Attributes = { queue };
    this.durations.record(tookMs / 1_000, labels);
    if (ageMs !== undefined) this.ages.record(ageMs / 1_000, labels);
  }

  failed(queue: string, end: 'retry' | 'parked', reason: string): void {
    this.failedMessages.add(1, { queue, end, reason });
  }

  sent(keys: readonly string[]): void {
    const counts = new Map<string, number>();
    for (const key of keys) counts.set(key, (counts.get(key) ?? 0) + 1);
    for (const [key, count] of counts) this.sentMessages.add(count, { key });
  }

  private async look(): Promise<Seen> {
    const { service, levels } = this.measured;
    const [outbox, asked] = await Promise.all([
      this.database.query<Seen['outbox']>(`SELECT ${waiting('created_at', 'refusals = 0')},
         count(*) FILTER (WHERE refusals > 0)::int AS refused FROM outbox`),
      this.database.query<Row>(`SELECT ${waiting('asked_at')} FROM asked`),
    ]);
    return {
      outbox: outbox[0]!,
      asked: asked[0]!,
      queues: await this.connection.countMessages(queuesOf(service, levels)),
    };
  }

  private startFromZero(): void {
    const { service, subscriptions } = this.measured;
    for (const { contract } of subscriptions) {
      const verdicts =
        contract.kind === 'fact'
          ? (['handled', 'duplicate', 'overtaken'] as const)
          : (['handled', 'duplicate'] as const);
      for (const verdict of verdicts)
        this.handledMessages.add(0, { queue: queueFor(service, contract), type: contract.type, verdict });
    }
    const { requests, facts } = namesOf(service);
    for (const queue of [requests, facts]) {
      this.failedMessages.add(0, { queue, end: 'retry', reason: 'Error' });
      for (const reason of parkCodes) this.failedMessages.add(0, { queue, end: 'parked', reason });
    }
    for (const key of keysSaidBy(service)) this.sentMessages.add(0, { key });
  }

  private yesOrNo(name: string, description: string, read: () => boolean): void {
    this.meter.createObservableGauge(name, { description }).addCallback((result) => result.observe(read() ? 1 : 0));
  }
}

/** Ages of those alone for which `counts`. */
function waiting(since: string, counts = 'true'): string {
  return `count(*)::int AS waiting,
    coalesce(extract(epoch FROM now() - min(${since}) FILTER (WHERE ${counts})), 0)::float8 AS oldest`;
}
