import type { Channel, Options } from 'amqplib';
import type { Contract, Service } from '#contracts/index.js';
import { parseDuration } from '#persistence/index.js';

export const eventsExchange = 'mesh.events';
/** A direct exchange whose keys are queues: facts that are said again go to the one queue that asked. */
export const republishExchange = 'mesh.republish';
export const unroutedQueue = 'mesh.unrouted';

/** One level of waiting: its name stands in the queue's name, so a level whose time changes gets a new queue. */
export interface RetryLevel {
  readonly name: string;
  readonly ms: number;
}

/** Reads `1s,5s,30s,2m,10m,1h`. Throws on anything else. */
export function parseRetryLevels(text: string): readonly RetryLevel[] {
  return text.split(',').map((name) => {
    const ms = parseDuration(name);
    if (ms === undefined) throw new Error(`retry levels are like 1s,5s,30s,2m,10m,1h; this is not one: ${name}`);
    return { name, ms };
  });
}

/** Then a message is parked: seven deliveries in all. */
export const defaultRetryLevels: readonly RetryLevel[] = parseRetryLevels('1s,5s,30s,2m,10m,1h');

/** The names of what belongs to one service. */
export function namesOf(service: Service) {
  return {
    requests: `${service}.requests`,
    facts: `${service}.facts`,
    parked: `${service}.parked`,
    /** A direct exchange: what waited in a delay queue comes back through it, under the name of its queue. */
    retry: `${service}.retry`,
    /**
     * Of one queue. The broker has 32 messages on their way out of a delay queue at most, and minutes of patience for
     * each: those of a deleted queue would hold up those of its neighbour.
     */
    delay: (queue: string, level: RetryLevel) => `${queue}.delay.${level.name}`,
  };
}

export function queueFor(service: Service, contract: Contract): string {
  return namesOf(service)[contract.kind === 'request' ? 'requests' : 'facts'];
}

/** All queues of a service, for who wants to know whether they are there and how full they are. */
export function queuesOf(service: Service, levels: readonly RetryLevel[]): string[] {
  const { requests, facts, parked, delay } = namesOf(service);
  const delays = [requests, facts].flatMap((queue) => levels.map((level) => delay(queue, level)));
  return [requests, facts, parked, ...delays];
}

const quorum = (more: Record<string, unknown> = {}): Options.AssertQueue => ({
  durable: true,
  arguments: { 'x-queue-type': 'quorum', ...more },
});

/**
 * Deliveries after which the broker itself gives a message up: only a message that kills its consumer gets there, all
 * other failures are counted by us (see consumer.ts) and come to an end long before.
 */
const crashGuard = 20;

/**
 * The exchange all events go to, and the queue that keeps what nobody binds. The installation declares them, and the
 * gateway, which reads that queue; the other services have no right to.
 */
export async function declareShared(channel: Channel): Promise<void> {
  await channel.assertExchange(unroutedQueue, 'fanout', { durable: true });
  await channel.assertQueue(unroutedQueue, quorum());
  await channel.bindQueue(unroutedQueue, unroutedQueue, '');
  await channel.assertExchange(eventsExchange, 'topic', { durable: true, alternateExchange: unroutedQueue });
  await channel.assertExchange(republishExchange, 'direct', { durable: true });
}

/** The parking queue of one service: an exchange of its own, so that nobody needs the right to the default exchange. */
export async function declareParked(channel: Channel, service: Service): Promise<void> {
  const { parked } = namesOf(service);
  await channel.assertExchange(parked, 'fanout', { durable: true });
  await channel.assertQueue(parked, quorum());
  await channel.bindQueue(parked, parked, '');
}

/**
 * Declares what belongs to `service` and binds its queues to the keys it hears. Idempotent; an existing queue with
 * other arguments fails loudly (406), because silently keeping the old ones would lose the guarantees. Bindings that
 * are no longer wanted are not removed here: the broker cannot list them for us.
 */
export async function declareService(
  channel: Channel,
  service: Service,
  contracts: readonly Contract[],
  levels: readonly RetryLevel[],
): Promise<void> {
  const names = namesOf(service);
  await declareParked(channel, service);
  await channel.assertExchange(names.retry, 'direct', { durable: true });

  for (const queue of [names.requests, names.facts]) {
    await channel.assertQueue(
      queue,
      quorum({
        'x-delivery-limit': crashGuard,
        'x-dead-letter-exchange': names.parked,
        'x-dead-letter-strategy': 'at-least-once',
        'x-overflow': 'reject-publish',
      }),
    );
    await channel.bindQueue(queue, names.retry, queue);

    for (const level of levels) {
      // Fanout, so that the routing key stays free to carry the queue to come back to. One queue per level: a time-out
      // per message would block at the queue's head.
      const delay = names.delay(queue, level);
      await channel.assertExchange(delay, 'fanout', { durable: true });
      await channel.assertQueue(
        delay,
        quorum({
          'x-message-ttl': level.ms,
          'x-dead-letter-exchange': names.retry,
          'x-dead-letter-strategy': 'at-least-once',
          'x-overflow': 'reject-publish',
        }),
      );
      await channel.bindQueue(delay, delay, '');
    }
  }

  for (const contract of contracts) await channel.bindQueue(queueFor(service, contract), eventsExchange, contract.key);
  // Last: who is told that all current facts were said again must not have missed one that was said meanwhile.
  await channel.bindQueue(names.facts, republishExchange, names.facts);
}
