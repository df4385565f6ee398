import { setTimeout as pause } from 'node:timers/promises';
import type { ConfirmChannel } from 'amqplib';
import { registry } from '#contracts/index.js';
import type { BrokerConnection, ManagedChannel } from './broker.js';
import { headers } from './delivery.js';
import { propertiesOf } from './outbox.js';
import { namesOf, unroutedQueue } from './topology.js';

/** A parked message as it is kept, to be put back. */
export interface Replayed {
  /** Under which it is kept; what becomes of it is told under this number. */
  readonly id: string;
  readonly queue: string;
  readonly type: string | null;
  readonly messageId: string | null;
  /** The broker user that published it first. */
  readonly publisher: string | null;
  readonly traceparent: string | null;
  readonly body: Buffer;
  /** How long it was; more than `body` has: its end was not kept. */
  readonly bodyBytes: number;
}

/** This message cannot be put back; the text says why and what to do instead. */
export class NotReplayable extends Error {
  constructor(message: string) {
    super(message);
    this.name = 'NotReplayable';
  }
}

const confirmLimitMs = 10_000;
const openLimitMs = 2_000;

/**
 * Puts parked messages back into the queue they came from, through the default exchange, which the gateway alone may
 * use. There each is handled as the message it was, with its publisher, but never a fact that has to come first hand. One
 * that cannot be handled again is parked again; a fact that was overtaken meanwhile comes back as `superseded`.
 */
export class Replayer {
  private readonly channel: ManagedChannel;
  /** Resolves the wait for a confirm as "returned". */
  private readonly returned = new Set<string>();

  constructor(
    connection: BrokerConnection,
    private readonly user: string,
  ) {
    this.channel = connection.channel('replay', async (channel) => {
      channel.on('return', ({ properties }) => this.returned.add(properties.headers?.[headers.replay]));
    });
  }

  /** Resolves when the broker has it in the queue. Throws NotReplayable, or an error after which it may be tried again. */
  async replay(message: Replayed): Promise<void> {
    const queue = queueOf(message);
    if (message.body.byteLength < message.bodyBytes)
      throw new NotReplayable('only its beginning was kept: its publisher has to send it again');
    // At its first use the channel is on its way; a broker that is away is not waited for, because a person waits here.
    await Promise.race([this.channel.opened, pause(openLimitMs, undefined, { ref: false })]);
    const channel = this.channel.current;
    if (!channel) throw new Error('there is no connection to the broker just now');
    await this.publish(channel, queue, message);
    if (this.returned.delete(message.id)) throw new NotReplayable(`the queue ${queue} does not exist any more`);
  }

  async close(): Promise<void> {
    await this.channel.close();
  }

  private async publish(channel: ConfirmChannel, queue: string, message: Replayed): Promise<void> {
    const properties = {
      ...propertiesOf({ id: message.messageId ?? '', userId: this.user }),
      mandatory: true,
      headers: {
        [headers.replay]: message.id,
        ...(message.publisher && { [headers.publisher]: message.publisher }),
        ...(message.traceparent && { traceparent: message.traceparent }),
      },
    };
    await new Promise<void>((resolve, reject) => {
      const limit = setTimeout(() => reject(new Error('the broker does not confirm it')), confirmLimitMs);
      channel.publish('', queue, message.body, properties, (error) => {
        clearTimeout(limit);
        if (error) reject(error instanceof Error ? error : new Error('the broker refused it'));
        else resolve();
      });
    });
  }
}

/** Where it came from; of what nobody had a queue for, the owner's. */
function queueOf({ queue, type }: Replayed): string {
  if (queue !== unroutedQueue) return queue;
  const contract = registry.find((one) => one.type === type);
  if (contract?.kind !== 'request' || contract.owner === 'every-owner')
    throw new NotReplayable('no queue was ever there for it, and it is no request that a service owns');
  return namesOf(contract.owner).requests;
}
