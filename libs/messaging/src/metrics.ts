import { type Attributes, metrics } from '@opentelemetry/api';
import type { Database } from '#persistence/index.js';
import type { BrokerConnection } from './broker.js';

/** What waits, as it was seen last; ages in seconds. */
interface Seen {
  readonly outbox: { readonly messages: number; readonly oldest: number; readonly refused: number };
  readonly asked: { readonly requests: number; readonly oldest: number };
  /** By the queue's name. */
  readonly queues: ReadonlyMap<string, number>;
}

interface Row {
  readonly waiting: number;
  readonly oldest: number;
}

/**
 * Backlog, ages and ends of messages, to the meters of the process. What has to be asked for (outbox, queues) is looked
 * at by `look`, and told as it was seen last. Labels are few and bounded: queues, types, verdicts; never an instance.
 */
export class MessagingMetrics {
  private readonly meter = metrics.getMeter('mesh.messaging');
  private seen: Seen = {
    outbox: { messages: 0, oldest: 0, refused: 0 },
    asked: { requests: 0, oldest: 0 },
    queues: new Map(),
  };

  private readonly handledMessages = this.meter.createCounter('mesh.messages.handled', {
    description: 'Messages that came to a good end, by what was done with them.',
  });
  private readonly failedMessages = this.meter.createCounter('mesh.messages.failed', {
    description: 'Messages that failed: they wait for another try, or were parked.',
  });
  private readonly ages = this.meter.createHistogram('mesh.message.age.seconds', {
    description: 'From when its publisher said it to when it was handled, by the clocks of both.',
    advice: { explicitBucketBoundaries: [0.01, 0.05, 0.1, 0.5, 1, 5, 30, 120, 600, 3600] },
  });

  constructor(
    private readonly database: Database,
    private readonly connection: BrokerConnection,
    /** The service's own. */
    private readonly queues: readonly string[],
  ) {
    this.gauge('mesh.outbox.messages', 'Said and not confirmed by the broker yet.', () => [this.seen.outbox.messages]);
    this.gauge('mesh.outbox.oldest.seconds', 'How long the oldest of these has waited.', () => [
      this.seen.outbox.oldest,
    ]);
    this.gauge('mesh.outbox.refused', 'Of these, what the broker refused when it was sent.', () => [
      this.seen.outbox.refused,
    ]);
    this.gauge('mesh.asked.requests', 'Asked and not answered yet.', () => [this.seen.asked.requests]);
    this.gauge('mesh.asked.oldest.seconds', 'How long the oldest of these has waited.', () => [this.seen.asked.oldest]);
    this.gauge('mesh.queue.messages', 'Ready in the queue.', () =>
      [...this.seen.queues].map(([queue, messages]) => [messages, { queue }] as const),
    );
    this.gauge('mesh.broker.blocked', '1: the broker takes no messages.', () => [connection.blocked ? 1 : 0]);
  }

  handled(queue: string, type: string, verdict: string, ageMs: number | undefined): void {
    this.handledMessages.add(1, { queue, type, verdict });
    if (ageMs !== undefined && verdict === 'handled') this.ages.record(ageMs / 1_000, { queue });
  }

  failed(queue: string, end: 'retry' | 'parked', reason: string): void {
    this.failedMessages.add(1, { queue, end, reason });
  }

  /** Throws when one of both cannot be asked; what was seen before stands then. */
  async look(): Promise<void> {
    const [outbox, asked] = await Promise.all(
      (['outbox', 'asked'] as const).map((table) =>
        this.database.query<Row>(
          `SELECT count(*)::int AS waiting, coalesce(extract(epoch FROM now() - min(${since[table]})), 0)::float8 AS oldest
           FROM ${table}`,
        ),
      ),
    );
    const [refused] = await this.database.query<{ count: number }>(
      'SELECT count(*)::int AS count FROM outbox WHERE refusals > 0',
    );
    const queues = await this.connection.countMessages(this.queues);
    this.seen = {
      outbox: { messages: outbox![0]!.waiting, oldest: outbox![0]!.oldest, refused: refused!.count },
      asked: { requests: asked![0]!.waiting, oldest: asked![0]!.oldest },
      queues,
    };
  }

  private gauge(
    name: string,
    description: string,
    read: () => readonly (number | readonly [number, Attributes])[],
  ): void {
    this.meter.createObservableGauge(name, { description }).addCallback((result) => {
      for (const one of read()) typeof one === 'number' ? result.observe(one) : result.observe(one[0], one[1]);
    });
  }
}

const since = { outbox: 'created_at', asked: 'asked_at' } as const;
