import { type DynamicModule, Inject, Injectable, Module, type OnModuleInit } from '@nestjs/common';
import { DiscoveryModule, DiscoveryService, ModuleRef } from '@nestjs/core';
import { type Contract, RepublishRequested, type Service, services as servicesOfTheMesh } from '#contracts/index.js';
import { Database, Periodic, type Transaction } from '#persistence/index.js';
import { Asked, defaultAskAgainMs } from './asked.js';
import { BrokerConnection } from './broker.js';
import { MessageHandler, type Subscription } from './handler.js';
import { MessagingMetrics } from './metrics.js';
import { Outbox } from './outbox.js';
import { OutboxRelay } from './outbox-relay.js';
import { ParkedCollector, type ParkedMessage } from './parked-collector.js';
import { prune } from './pruning.js';
import { type Replayed, Replayer } from './replay.js';
import { checkSubscriptions } from './subscription-check.js';
import { defaultRetryLevels, namesOf, queueFor, type RetryLevel } from './topology.js';
import { RabbitTransport } from './transport.js';

export interface MessagingOptions {
  readonly service: Service;
  readonly subscriptions: readonly Subscription[];
  /** `amqp://<mesh>-<service>:password@host:port/<vhost>`; the user's name is how others know who speaks. */
  readonly url: string;
  readonly levels?: readonly RetryLevel[];
  readonly prefetch?: number;
  /** How soon a request that was not answered is asked again, at first. */
  readonly askAgainMs?: number;
  readonly onTrouble: (what: string, error: unknown, fields?: Record<string, unknown>) => void;
  /** For the log: what is in order and worth knowing. */
  readonly onNotice?: (what: string, fields: Record<string, unknown>) => void;
}

const optionsToken = Symbol('messaging options');

const pruneEveryMs = 10 * 60_000;

/** Two connections, because a publisher that the broker blocks must not stall acknowledgements. */
@Injectable()
export class Messaging implements OnModuleInit {
  private readonly publishing: BrokerConnection;
  private readonly consuming: BrokerConnection;
  private readonly relay: OutboxRelay;
  private readonly standing: readonly Pick<Periodic, 'start' | 'stop'>[];
  private readonly metrics: MessagingMetrics;
  /** Kinds of which all current facts were asked for since the start. */
  private readonly askedFor = new Set<string>();
  private collector: ParkedCollector | undefined;
  private replayer: Replayer | undefined;
  private readonly user: string;
  private readonly userOf: (service: Service) => string;
  readonly transport: RabbitTransport;

  constructor(
    @Inject(optionsToken) private readonly options: MessagingOptions,
    private readonly discovery: DiscoveryService,
    private readonly database: Database,
    private readonly outbox: Outbox,
    private readonly asked: Asked,
    modules: ModuleRef,
  ) {
    const { service, url, onTrouble, levels = defaultRetryLevels, askAgainMs = defaultAskAgainMs } = options;
    this.user = decodeURIComponent(new URL(url).username);
    this.userOf = usersOfTheMesh(this.user, service);
    const connect = (purpose: string) => new BrokerConnection({ url, name: `${service} ${purpose}`, onTrouble });
    this.publishing = connect('publishing');
    this.consuming = connect('consuming');
    const { subscriptions } = options;
    this.metrics = new MessagingMetrics(
      database,
      this.consuming,
      { service, subscriptions, levels },
      () => this.relay.relays,
      onTrouble,
    );
    this.relay = new OutboxRelay(database, outbox, this.publishing, this.user, onTrouble, (keys) =>
      this.metrics.sent(keys),
    );
    this.standing = [
      new Periodic('pruning', pruneEveryMs, () => prune(database), onTrouble),
      this.metrics,
      new Periodic('asking again', Math.min(askAgainMs / 2, 1_000), () => this.askAgain(), onTrouble),
    ];
    this.transport = new RabbitTransport(
      {
        service,
        subscriptions,
        levels,
        userOf: this.userOf,
        prefetch: options.prefetch ?? 20,
        onTrouble,
        onMissingQueues: (queues) => this.queuesAreMissing(queues),
        onQueuesMade: () => this.askNow(),
        onHandled: (...handled) => this.metrics.handled(...handled),
        onFailed: (...failed) => this.metrics.failed(...failed),
      },
      modules,
      database,
      outbox,
      asked,
      this.consuming,
    );
  }

  async onModuleInit(): Promise<void> {
    const handlers = this.discovery
      .getProviders()
      .map((provider) => provider.metatype as unknown)
      .filter((type): type is new () => MessageHandler => isHandler(type));
    checkSubscriptions(this.options.service, this.options.subscriptions, handlers);
    this.tellTopology();
    await Promise.all([this.publishing.start(), this.consuming.start()]);
    this.relay.start();
    for (const one of this.standing) one.start();
  }

  /**
   * Asks the owners for the current facts of every kind of which this service has never heard any: an older service
   * that hears something new. (Where the queues were missing, all kinds were asked for then.) Called when the queues are
   * bound: what was said before is said again, and what is said from now on arrives.
   */
  async askForWhatWasMissed(): Promise<void> {
    const known = await this.database.query<{ type: string }>('SELECT DISTINCT type FROM heard');
    const missed = this.wholeFacts().filter((contract) => !known.some(({ type }) => type === contract.type));
    await this.noteQuestions(missed.map((one) => one.subject).filter((kind) => !this.askedFor.has(kind)));
    await this.askNow();
  }

  /**
   * All current facts that this service hears are asked for, and are handled as if they came for the first time: for a
   * read model that is made again. Part of the caller's transaction. Facts that are not current are not said again.
   */
  async hearAgain(tx: Transaction): Promise<void> {
    // Who handles a fact just now ends first, so that its note is found and forgotten, and nobody notes one meanwhile:
    // it would be taken for a duplicate when it is said again, and what it told be missing.
    await tx.query('LOCK TABLE inbox IN SHARE ROW EXCLUSIVE MODE');
    await tx.query('DELETE FROM inbox');
    await tx.query('DELETE FROM heard WHERE type = ANY($1)', [this.wholeFacts().map((one) => one.type)]);
    await this.ask(
      tx,
      this.wholeFacts().map((one) => one.subject),
    );
    tx.afterCommit(() => {
      this.askNow().catch((error) => this.options.onTrouble('current facts are asked for a little later', error));
    });
  }

  /** Who has not told yet that all its current facts were said again. */
  async unansweredOwners(): Promise<string[]> {
    return await this.asked.owners(RepublishRequested.key);
  }

  /** Why messages are not sent or handled just now; empty: all is well. */
  get troubles(): string[] {
    return [this.publishing.trouble, this.relay.trouble, ...this.transport.troubles].filter((one) => one !== undefined);
  }

  /** Copies everybody's parked messages to `store`, until the service drains. */
  collectParked(services: readonly Service[], store: (message: ParkedMessage) => Promise<void>): void {
    const isOurs = (name: string) => servicesOfTheMesh.some((service) => this.userOf(service) === name);
    this.collector = new ParkedCollector(this.consuming, services, isOurs, store, this.options.onTrouble);
  }

  /** Puts a parked message back; see Replayer. For the gateway alone: no other broker user has the right. */
  async replay(message: Replayed): Promise<void> {
    this.replayer ??= new Replayer(this.publishing, this.user);
    await this.replayer.replay(message);
  }

  async drainConsumers(): Promise<void> {
    await Promise.all([this.transport.drain(), this.collector?.drain()]);
  }

  /** Last of all: what handlers and reconcilers said until now leaves, as far as the broker takes it. */
  async drainOutbox(): Promise<void> {
    await Promise.all(this.standing.map((one) => one.stop()));
    await this.relay.drain();
    await this.replayer?.close();
    await Promise.all([this.publishing.close(), this.consuming.close()]);
  }

  /** At the first start, and when the broker has lost queues: whatever facts were in them are to be said again. */
  private async queuesAreMissing(queues: readonly string[]): Promise<void> {
    this.options.onNotice?.('queues were missing and are made', { queues });
    await this.noteQuestions(this.wholeFacts().map((one) => one.subject));
  }

  /** Noted before the queues are made, and sent after: a crash in between forgets nothing, and no answer comes too early. */
  private async noteQuestions(subjectKinds: readonly string[]): Promise<void> {
    if (subjectKinds.length === 0) return;
    await this.database.transaction((tx) => this.ask(tx, subjectKinds));
    for (const kind of subjectKinds) this.askedFor.add(kind);
  }

  private async ask(tx: Transaction, subjectKinds: readonly string[]): Promise<void> {
    const subscription = namesOf(this.options.service).facts;
    const kinds = new Set(subjectKinds);
    for (const subjectKind of kinds)
      await this.outbox.noteRequest(tx, {}, RepublishRequested, { subscription, subjectKind });
    tx.afterCommit(() => this.options.onNotice?.('current facts are asked for', { about: [...kinds] }));
  }

  private async askNow(): Promise<void> {
    await this.asked.hurry(RepublishRequested.key);
    await this.askAgain();
  }

  private async askAgain(): Promise<void> {
    if ((await this.asked.askAgain()) > 0) this.outbox.onCommit();
  }

  private wholeFacts() {
    return this.options.subscriptions
      .map((one) => one.contract)
      .filter((one: Contract) => one.kind === 'fact')
      .filter((one) => one.whole);
  }

  /** Which keys lead to which queue, for the log of the start. */
  private tellTopology(): void {
    const { service, subscriptions, onNotice, levels = defaultRetryLevels } = this.options;
    const { requests, facts, parked } = namesOf(service);
    for (const queue of [requests, facts]) {
      const contracts = subscriptions.map((one) => one.contract).filter((one) => queueFor(service, one) === queue);
      onNotice?.('queue', { queue, hears: contracts.map((one) => one.key) });
    }
    onNotice?.('failed messages', { wait: levels.map((level) => level.name), thenParkedIn: parked });
  }
}

/** Outbox and consumers of one service. The handlers themselves are providers of the service's own module. */
@Module({})
export class MessagingModule {
  static forService(options: MessagingOptions): DynamicModule {
    return {
      module: MessagingModule,
      global: true,
      imports: [DiscoveryModule],
      providers: [
        { provide: optionsToken, useValue: options },
        {
          provide: Asked,
          useFactory: (database: Database) => new Asked(database, options.askAgainMs ?? defaultAskAgainMs),
          inject: [Database],
        },
        {
          provide: Outbox,
          useFactory: (database: Database, asked: Asked) => new Outbox(database, options.service, asked),
          inject: [Database, Asked],
        },
        Messaging,
      ],
      exports: [Outbox, Messaging],
    };
  }
}

function isHandler(type: unknown): boolean {
  return typeof type === 'function' && type.prototype instanceof MessageHandler;
}

/** `<mesh>-<service>` for every service, read off the own one. */
export function usersOfTheMesh(user: string, service: Service): (other: Service) => string {
  if (!user.endsWith(`-${service}`))
    throw new Error(`the broker user of ${service} must be called <mesh>-${service}; the configured one is ${user}`);
  const mesh = user.slice(0, -service.length);
  return (other) => `${mesh}${other}`;
}
