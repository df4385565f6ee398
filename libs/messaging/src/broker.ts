import { setTimeout as pause } from 'node:timers/promises';
import { type ChannelModel, type ConfirmChannel, connect } from 'amqplib';

export interface BrokerOptions {
  /** `?heartbeat=5`: a peer that is silent for about three times as many seconds is taken for dead. */
  readonly url: string;
  /** Shown in the broker's list of connections. */
  readonly name: string;
  readonly onTrouble?: (what: string, error: unknown) => void;
}

/** A channel that is opened again whenever it or its connection is lost. */
export interface ManagedChannel {
  /** Undefined while there is none. Never keep it: acknowledging on a later channel is a protocol error. */
  readonly current: ConfirmChannel | undefined;
  /** Whether this is the one to acknowledge on: what it consumes may come before it is `current`, while it is set up. */
  holds(channel: ConfirmChannel): boolean;
  /** Resolves when the channel was opened for the first time; rejects when that can never work (see `start`). */
  readonly opened: Promise<void>;
  /** Opens a new one, for a consumer that was cancelled by the broker. */
  reopen(): void;
  close(): Promise<void>;
}

const defaultHeartbeatSeconds = 5;
const firstWaitMs = 100;
const longestWaitMs = 5_000;

/**
 * One connection to RabbitMQ that comes back for ever, with the channels that live on it. amqplib's own recovery is
 * not used: it gets stuck when the connection dies during set-up, and it does not bring channels back.
 */
export class BrokerConnection {
  private model: ChannelModel | undefined;
  private readonly channels = new Set<SupervisedChannel>();
  private closing = false;
  private attempts: Promise<void> = Promise.resolve();
  private lastTrouble = 'not connected yet';
  blocked: string | undefined;

  constructor(private readonly options: BrokerOptions) {}

  /** Why nothing can be said to the broker just now; undefined: all is well. */
  get trouble(): string | undefined {
    if (!this.model) return this.lastTrouble;
    if (this.blocked) return `the broker takes no messages: ${this.blocked}`;
    return undefined;
  }

  /** Keeps trying until connected. Wrong credentials look the same as a broker that is still starting, so it waits. */
  start(): Promise<void> {
    this.attempts = this.reconnect();
    return this.attempts;
  }

  /** `setUp` runs on every new channel: declare, set prefetch, consume. When it throws, the channel is opened anew. */
  channel(name: string, setUp: (channel: ConfirmChannel) => Promise<void>): ManagedChannel {
    const channel = new SupervisedChannel(name, setUp, (what, error) => this.report(what, error));
    this.channels.add(channel);
    if (this.model) channel.connected(this.model);
    return channel;
  }

  /** How many messages are ready in each; those without such a queue are left out. */
  async countMessages(queues: readonly string[]): Promise<Map<string, number>> {
    const counts = new Map<string, number>();
    for (const queue of queues) {
      if (!this.model) throw new Error(this.lastTrouble);
      // A channel for each, because the answer that there is none closes it.
      const channel = await this.model.createChannel();
      channel.on('error', () => {}); // the rejection says it
      try {
        counts.set(queue, (await channel.checkQueue(queue)).messageCount);
        await channel.close();
      } catch (error) {
        if ((error as { code?: number }).code !== 404) throw error;
      }
    }
    return counts;
  }

  async close(): Promise<void> {
    this.closing = true;
    await Promise.allSettled([...this.channels].map((channel) => channel.close()));
    const model = this.model;
    this.model = undefined;
    await model?.close().catch(() => {});
    await this.attempts.catch(() => {});
  }

  private report(what: string, error: unknown): void {
    if (!this.closing) this.options.onTrouble?.(what, error);
  }

  private async reconnect(): Promise<void> {
    for (let wait = firstWaitMs; !this.closing; wait = Math.min(wait * 2, longestWaitMs)) {
      try {
        await this.connectOnce();
        return;
      } catch (error) {
        this.lastTrouble = `no connection to the broker: ${(error as Error).message}`;
        this.report('broker unreachable', error);
        await pause(wait / 2 + Math.random() * (wait / 2));
      }
    }
  }

  private async connectOnce(): Promise<void> {
    const url = new URL(this.options.url);
    if (!url.searchParams.has('heartbeat')) url.searchParams.set('heartbeat', String(defaultHeartbeatSeconds));
    const model = await connect(url.toString(), {
      timeout: 10_000,
      clientProperties: { connection_name: this.options.name },
    });
    if (this.closing) {
      await model.close().catch(() => {});
      return;
    }
    model.on('error', (error) => {
      this.lastTrouble = `the broker connection broke: ${error.message}`;
      this.report('broker connection broke', error);
    });
    model.on('blocked', (reason) => {
      this.blocked = String(reason);
      this.report('broker blocked publishing', new Error(this.blocked));
    });
    model.on('unblocked', () => {
      this.blocked = undefined;
    });
    model.once('close', () => {
      if (this.model !== model) return;
      this.model = undefined;
      this.blocked = undefined;
      for (const channel of this.channels) channel.disconnected();
      if (!this.closing) this.attempts = this.reconnect();
    });
    this.model = model;
    for (const channel of this.channels) channel.connected(model);
  }
}

class SupervisedChannel implements ManagedChannel {
  current: ConfirmChannel | undefined;
  readonly opened: Promise<void>;
  private resolveOpened!: () => void;
  private model: ChannelModel | undefined;
  /** Being set up: it may be consumed already, and cancelled again. */
  private opening: ConfirmChannel | undefined;
  private closing = false;
  private wait = firstWaitMs;

  constructor(
    private readonly name: string,
    private readonly setUp: (channel: ConfirmChannel) => Promise<void>,
    private readonly report: (what: string, error: unknown) => void,
  ) {
    this.opened = new Promise((resolve) => {
      this.resolveOpened = resolve;
    });
  }

  holds(channel: ConfirmChannel): boolean {
    return channel === this.current || channel === this.opening;
  }

  connected(model: ChannelModel): void {
    this.model = model;
    this.wait = firstWaitMs;
    void this.open(model);
  }

  disconnected(): void {
    this.model = undefined;
    this.current = undefined;
    this.opening = undefined;
  }

  reopen(): void {
    const channel = this.current ?? this.opening;
    this.current = undefined;
    // 'close' follows and opens the next one.
    void channel?.close().catch(() => {});
  }

  async close(): Promise<void> {
    this.closing = true;
    const channel = this.current;
    this.current = undefined;
    await channel?.close().catch(() => {});
  }

  private async open(model: ChannelModel): Promise<void> {
    if (this.closing || this.model !== model) return;
    let channel: ConfirmChannel;
    try {
      channel = await model.createConfirmChannel();
    } catch (error) {
      this.report(`channel ${this.name} not opened`, error);
      this.openLater(model);
      return;
    }
    channel.on('error', (error) => this.report(`channel ${this.name} broke`, error));
    let closed = false;
    channel.once('close', () => {
      closed = true;
      if (this.current === channel) this.current = undefined;
      if (this.opening === channel) this.opening = undefined;
      this.openLater(model);
    });
    this.opening = channel;
    try {
      await this.setUp(channel);
    } catch (error) {
      this.report(`channel ${this.name} not set up`, error);
      // A refused declaration has closed the channel already; anything else has not.
      await channel.close().catch(() => {});
      return;
    } finally {
      if (this.opening === channel) this.opening = undefined;
    }
    // The next one is on its way.
    if (closed) return;
    this.current = channel;
    this.wait = firstWaitMs;
    this.resolveOpened();
  }

  private openLater(model: ChannelModel): void {
    if (this.closing || this.model !== model) return;
    const wait = this.wait;
    this.wait = Math.min(wait * 2, longestWaitMs);
    setTimeout(() => void this.open(model), wait / 2 + Math.random() * (wait / 2)).unref();
  }
}
