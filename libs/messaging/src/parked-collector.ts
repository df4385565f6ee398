import { setTimeout as pause } from 'node:timers/promises';
import { metrics } from '@opentelemetry/api';
import type { ConfirmChannel, ConsumeMessage } from 'amqplib';
import { registry, type Service } from '#contracts/index.js';
import type { BrokerConnection, ManagedChannel } from './broker.js';
import { headers } from './delivery.js';
import { declareParked, declareShared, namesOf, unroutedQueue } from './topology.js';

/** A message that no service could handle, for a person to look at. */
export interface ParkedMessage {
  /** The queue it could not be handled from; `mesh.unrouted`: nobody binds its key. */
  readonly queue: string;
  readonly service: string | null;
  readonly messageId: string | null;
  readonly type: string | null;
  readonly routingKey: string;
  /** The broker user that published it first. */
  readonly publisher: string | null;
  readonly reason: string;
  readonly error: string;
  readonly attempts: number;
  readonly traceparent: string | null;
  /** It is kept already under this number, was put back, and could not be handled again. */
  readonly replayOf: string | null;
  /** The beginning of the body; `bodyBytes` says how long it was. */
  readonly body: Buffer;
  readonly bodyBytes: number;
}

const keptBodyBytes = 1024 * 1024;

/**
 * Copies what was parked, from all services and from what nobody binds, to wherever `store` puts it; acknowledged when
 * stored. While the store is away messages stay in the broker. One that is stored just before a crash is stored again.
 */
export class ParkedCollector {
  private readonly channels: ManagedChannel[];
  private readonly draining = new AbortController();
  private readonly running = new Set<Promise<void>>();
  private readonly unrouted = metrics.getMeter('mesh.messaging').createCounter('mesh.messages.unrouted', {
    description: 'Messages for whose key there was no queue, by the key.',
  });

  constructor(
    connection: BrokerConnection,
    services: readonly Service[],
    /** Whether a broker user is a service of this mesh. */
    private readonly isOurs: (user: string) => boolean,
    private readonly store: (message: ParkedMessage) => Promise<void>,
    private readonly onTrouble: (what: string, error: unknown) => void,
  ) {
    for (const key of ['unknown', ...knownKeys]) this.unrouted.add(0, { key });
    const sources = [
      { queue: unroutedQueue, service: null, declare: declareShared },
      ...services.map((service) => ({
        queue: namesOf(service).parked,
        service,
        declare: (channel: ConfirmChannel) => declareParked(channel, service),
      })),
    ];
    this.channels = sources.map(({ queue, service, declare }) => {
      const channel: ManagedChannel = connection.channel(queue, async (opened) => {
        await declare(opened);
        await opened.prefetch(10);
        await opened.consume(queue, (message) => {
          if (message === null) return channel.reopen();
          const work = this.collect(opened, channel, message, service).finally(() => this.running.delete(work));
          this.running.add(work);
        });
      });
      return channel;
    });
  }

  async drain(): Promise<void> {
    this.draining.abort();
    await Promise.allSettled(this.running);
    await Promise.all(this.channels.map((channel) => channel.close()));
  }

  private async collect(
    opened: ConfirmChannel,
    channel: ManagedChannel,
    message: ConsumeMessage,
    service: Service | null,
  ): Promise<void> {
    if (!service)
      this.unrouted.add(1, { key: knownKeys.has(message.fields.routingKey) ? message.fields.routingKey : 'unknown' });
    if (!service && this.isNobodysLoss(message)) {
      if (channel.holds(opened)) opened.ack(message);
      return;
    }
    while (!this.draining.signal.aborted) {
      try {
        await this.store(readParked(message, service, this.isOurs(message.properties.userId ?? '')));
        if (channel.holds(opened)) opened.ack(message);
        return;
      } catch (error) {
        this.onTrouble('parked message not stored yet', error);
        await pause(500 + Math.random() * 1_000, undefined, { signal: this.draining.signal }).catch(() => {});
      }
    }
  }

  /**
   * A fact is said to whoever listens, and that may be nobody. A request of one of our services whose owner has no queue
   * yet is asked again until it is answered. Any other request is one that somebody waits for in vain.
   */
  private isNobodysLoss({ fields, properties }: ConsumeMessage): boolean {
    if (keysOfFacts.has(fields.routingKey)) return true;
    return keysAskedAgain.has(fields.routingKey) && this.isOurs(properties.userId ?? '');
  }
}

const knownKeys = new Set(registry.map((one) => one.key));
const keysOfFacts = new Set(registry.filter((one) => one.kind === 'fact').map((one) => one.key));
const keysAskedAgain = new Set(registry.flatMap((one) => (one.kind === 'request' && one.answeredBy ? [one.key] : [])));

/** @param ours a service of the mesh sent it; the headers of anybody else are a stranger's words. */
function readParked(message: ConsumeMessage, service: Service | null, ours: boolean): ParkedMessage {
  const { messageId, userId, headers: all = {} } = message.properties;
  const found = ours ? all : Object.fromEntries(Object.entries(all).filter(([name]) => !name.startsWith('mesh-')));
  const text = (value: unknown) => (typeof value === 'string' ? value.replaceAll('\0', '�') : null);
  const crashed = found['x-first-death-reason'] === 'delivery_limit';
  const type = /"type"\s*:\s*"([^"\\]{1,128})"/.exec(message.content.subarray(0, 4096).toString())?.[1];
  return {
    queue: text(found[headers.queue]) ?? text(found['x-first-death-queue']) ?? unroutedQueue,
    service,
    messageId: text(messageId),
    type: text(type),
    routingKey: text(message.fields.routingKey) ?? '',
    publisher: text(found[headers.publisher]) ?? (service ? null : text(userId)),
    reason: text(found[headers.reason]) ?? (crashed ? 'crashed-consumer' : 'unrouted'),
    error:
      text(found[headers.error]) ??
      (crashed ? 'its consumer died with it, again and again' : 'no service binds its key'),
    attempts: Number(found[headers.attempt] ?? 0) || 0,
    traceparent: text(found.traceparent),
    replayOf: text(found[headers.replay]),
    body: message.content.subarray(0, keptBodyBytes),
    bodyBytes: message.content.byteLength,
  };
}
