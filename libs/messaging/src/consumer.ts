import { setTimeout as pause } from 'node:timers/promises';
import type { ConfirmChannel, ConsumeMessage } from 'amqplib';
import type { Service } from '#contracts/index.js';
import { isContention, isUnavailable } from '#persistence/index.js';
import { Acknowledger } from './acknowledger.js';
import type { BrokerConnection, ManagedChannel } from './broker.js';
import { type Delivery, headers, type ParkReason, readDelivery, timesReturned, Unreadable } from './delivery.js';
import { TerminalError } from './handler.js';
import { propertiesOf } from './outbox.js';
import { namesOf, type RetryLevel } from './topology.js';

export interface ConsumerOptions {
  readonly service: Service;
  readonly queue: string;
  readonly prefetch: number;
  readonly levels: readonly RetryLevel[];
  /** The broker user of this service. */
  readonly user: string;
  /** The one that may put parked messages back. */
  readonly replayUser: string;
  /** Declares what the queue needs; runs on every new channel. */
  readonly declare: (channel: ConfirmChannel) => Promise<void>;
  /**
   * Resolves when the effect is committed. `before` is for a message that stands for those in front of it: it resolves
   * when all that were taken earlier have come to an end, and rejects when some of them come again.
   */
  readonly process: (delivery: Delivery, before: () => Promise<void>) => Promise<void>;
  /** The trace of one that was worked on, also when it came without; undefined: nobody could read it. */
  readonly traceOf: (delivery: Delivery) => string | undefined;
  readonly onTrouble: (what: string, error: unknown, fields?: Record<string, unknown>) => void;
  /** A message did not come to a good end, this time or at all. */
  readonly onFailed: (queue: string, end: 'retry' | 'parked', reason: string) => void;
}

const quickTries = 2;
/** So many processes may die with a message before it is parked. */
const deathsLimit = 5;
const headerTextLimit = 2_000;

/**
 * Takes messages from one queue and brings each to exactly one end:
 * - `process` resolves: acknowledged;
 * - Unreadable or TerminalError: parked at once, with the reason;
 * - anything else: tried twice more in place, then a copy waits in a delay queue, a level longer each time; after the
 *   last level it is parked;
 * - the service's own database is away: the message is held until it is back. That says nothing about the message, so
 *   it costs no attempt;
 * - the process dies with it: what comes back is worked on one by one, so that the next death counts for the one message
 *   that causes it, and not for its neighbours; after the fifth it is parked.
 * A copy is confirmed by the broker before the original is acknowledged, so a crash in between doubles a message (the
 * inbox knows it) and never loses one. Nothing is requeued at once, ever.
 */
export class Consumer {
  /** In the order in which they came. */
  private readonly running = new Map<number, Promise<void>>();
  private taken = 0;
  private readonly draining = new AbortController();
  private readonly channel: ManagedChannel;
  private tag: string | undefined;
  /** Of the channel in use. */
  private acknowledger: Acknowledger | undefined;
  private copies = 0;
  /** Copies for which the broker found no queue: confirmed all the same, and gone. */
  private readonly returned = new Set<number>();
  /** This process has lost no message yet: what comes back to it was lost by another one. */
  private newborn = true;
  private took = false;

  constructor(
    private readonly connection: BrokerConnection,
    private readonly options: ConsumerOptions,
  ) {
    this.channel = connection.channel(options.queue, (channel) => this.consume(channel));
  }

  /** Resolves when the first messages can come. */
  get started(): Promise<void> {
    return this.channel.opened;
  }

  get trouble(): string | undefined {
    return this.connection.trouble ?? (this.channel.current ? undefined : `${this.options.queue} is not consumed`);
  }

  /** No new message is taken; those at work are finished and acknowledged. */
  async drain(): Promise<void> {
    this.draining.abort();
    if (this.tag) await this.channel.current?.cancel(this.tag).catch(() => {});
    await Promise.allSettled(this.running.values());
    this.acknowledger?.flush();
    await this.channel.close();
  }

  private async consume(channel: ConfirmChannel): Promise<void> {
    if (this.draining.signal.aborted) return;
    if (this.took) this.newborn = false;
    await this.options.declare(channel);
    channel.on('return', ({ properties }) => this.returned.add(properties.headers?.[headers.copy]));
    // The channel may be gone: then the broker delivers again, and the inbox knows the message.
    const acknowledger = new Acknowledger(channel, () => this.channel.holds(channel));
    this.acknowledger = acknowledger;
    // One by one, until the first comes that nobody had before.
    let careful = true;
    const take = (message: ConsumeMessage | null) => {
      if (message === null) {
        // The broker took the queue or the consumer away; a new channel declares and consumes again.
        this.options.onTrouble('consumer cancelled by the broker', new Error(this.options.queue));
        this.channel.reopen();
        return;
      }
      this.took = true;
      if (careful && timesReturned(message) === 0) {
        careful = false;
        void this.widen(channel, message.fields.consumerTag!, take);
      }
      acknowledger.took(message);
      const number = ++this.taken;
      const before = () => this.endedBefore(number, channel);
      const work = this.finish(channel, message, acknowledger, before).finally(() => this.running.delete(number));
      this.running.set(number, work);
    };
    await this.consumeWith(channel, 1, take);
  }

  private async consumeWith(
    channel: ConfirmChannel,
    prefetch: number,
    take: (message: ConsumeMessage | null) => void,
  ): Promise<void> {
    await channel.prefetch(prefetch);
    this.tag = (await channel.consume(this.options.queue, take)).consumerTag;
  }

  /** A new consumer, because quorum queues change the limit of none that exists. What it took stays taken. */
  private async widen(
    channel: ConfirmChannel,
    tag: string,
    take: (message: ConsumeMessage | null) => void,
  ): Promise<void> {
    try {
      await channel.cancel(tag);
      if (this.draining.signal.aborted) return;
      await this.consumeWith(channel, this.options.prefetch, take);
    } catch (error) {
      // The channel is gone, or has to go: the next one consumes again.
      this.options.onTrouble('consumer not widened', error, { queue: this.options.queue });
      if (this.channel.holds(channel)) this.channel.reopen();
    }
  }

  private async endedBefore(number: number, channel: ConfirmChannel): Promise<void> {
    for (const [earlier, work] of this.running) {
      if (earlier >= number) break;
      await work;
    }
    // Then the broker has one of them again.
    if (!this.channel.holds(channel)) throw new Error('what came before was not brought to an end');
  }

  /** Never rejects: an escaping error would end the process. */
  private async finish(
    channel: ConfirmChannel,
    message: ConsumeMessage,
    acknowledger: Acknowledger,
    before: () => Promise<void>,
  ): Promise<void> {
    // A cancelled consumer still gets what was on its way; left alone it goes back to the queue when the channel ends.
    if (this.draining.signal.aborted) return;
    const delivery = readDelivery(message, this.options.queue, {
      ownUser: this.options.user,
      replayUser: this.options.replayUser,
    });
    try {
      await this.bringToAnEnd(channel, delivery, before);
    } catch (error) {
      // Neither handled nor copied: unacknowledged, it comes again when this channel is given up.
      this.options.onTrouble('delivery left to the broker', error, { queue: delivery.queue });
      if (this.channel.holds(channel) && !this.draining.signal.aborted) this.channel.reopen();
      return;
    }
    acknowledger.finished(message);
  }

  private async bringToAnEnd(channel: ConfirmChannel, delivery: Delivery, before: () => Promise<void>): Promise<void> {
    // Later channels follow a loss that this process lived through, which nobody died of.
    if (this.newborn && delivery.returned >= deathsLimit)
      return await this.park(channel, delivery, {
        code: 'crashed-consumer',
        text: `${delivery.returned} times the process that worked on it died`,
      });
    let error: unknown;
    for (let failures = 0; failures <= quickTries; ) {
      try {
        await this.options.process(delivery, before);
        return;
      } catch (caught) {
        error = caught;
        if (caught instanceof Unreadable) return await this.park(channel, delivery, caught.reason);
        if (caught instanceof TerminalError)
          return await this.park(channel, delivery, { code: 'terminal', text: caught.message });
        if (this.draining.signal.aborted) throw caught;
        if (isUnavailable(caught)) {
          this.options.onTrouble('message held: the database is away', caught, { queue: delivery.queue });
          await pause(500 + Math.random() * 1_000, undefined, { signal: this.draining.signal }).catch(() => {});
          continue;
        }
        failures += 1;
        if (failures <= quickTries) await pause((isContention(caught) ? 20 : 50) + Math.random() * 150);
      }
    }
    const text = error instanceof Error ? error.message : String(error);
    const level = this.options.levels[delivery.attempt - 1];
    if (!level)
      return await this.park(channel, delivery, {
        code: 'exhausted',
        text: `failed ${delivery.attempt} times, last: ${text}`,
      });
    this.options.onTrouble('message failed, waits for its next try', error, {
      queue: delivery.queue,
      attempt: delivery.attempt,
      waitMs: level.ms,
    });
    this.options.onFailed(delivery.queue, 'retry', error instanceof Error ? error.name : 'unknown');
    await this.copy(channel, delivery, namesOf(this.options.service).delay(delivery.queue, level), delivery.queue, {
      [headers.attempt]: delivery.attempt + 1,
      [headers.error]: text.slice(0, headerTextLimit),
    });
  }

  private async park(channel: ConfirmChannel, delivery: Delivery, reason: ParkReason): Promise<void> {
    this.options.onTrouble('message parked', new Error(reason.text), { queue: delivery.queue, code: reason.code });
    this.options.onFailed(delivery.queue, 'parked', reason.code);
    await this.copy(channel, delivery, namesOf(this.options.service).parked, delivery.queue, {
      [headers.attempt]: delivery.attempt,
      [headers.reason]: reason.code,
      [headers.error]: reason.text.slice(0, headerTextLimit),
    });
  }

  /** Resolves when the broker has confirmed the copy and found a queue for it. */
  private async copy(
    channel: ConfirmChannel,
    delivery: Delivery,
    exchange: string,
    routingKey: string,
    more: Record<string, string | number>,
  ): Promise<void> {
    const { messageId, headers: found } = delivery.message.properties;
    const kept = Object.entries(found ?? {}).filter(([name]) => name === 'traceparent' || name === 'tracestate');
    const traceparent = this.options.traceOf(delivery);
    const copy = ++this.copies;
    await new Promise<void>((resolve, reject) => {
      channel.publish(
        exchange,
        routingKey,
        delivery.message.content,
        {
          ...propertiesOf({ id: messageId ?? '', userId: this.options.user }),
          // What it returns comes before the confirm.
          mandatory: true,
          headers: {
            [headers.copy]: copy,
            ...Object.fromEntries(kept),
            ...(traceparent && { traceparent }),
            ...(delivery.publisher && { [headers.publisher]: delivery.publisher }),
            ...(delivery.replayOf && { [headers.replay]: delivery.replayOf }),
            [headers.firstSeen]: delivery.firstSeen,
            [headers.queue]: delivery.queue,
            ...more,
          },
        },
        (error) => {
          if (error) reject(error as Error);
          // A new channel makes the queue again, and the message comes once more.
          else if (this.returned.delete(copy)) reject(new Error(`there is no queue behind ${exchange} any more`));
          else resolve();
        },
      );
    });
  }
}
