import { type DynamicModule, Inject, Injectable, Module, type OnModuleInit } from '@nestjs/common';
import { DiscoveryModule, DiscoveryService, ModuleRef } from '@nestjs/core';
import { RepublishRequested, type Service } from '#contracts/index.js';
import { Database } from '#persistence/index.js';
import { BrokerConnection } from './broker.js';
import { MessageHandler, type Subscription } from './handler.js';
import { InboxPruner } from './inbox-pruner.js';
import { Outbox } from './outbox.js';
import { OutboxRelay } from './outbox-relay.js';
import { ParkedCollector, type ParkedMessage } from './parked-collector.js';
import { checkSubscriptions } from './subscription-check.js';
import { defaultRetryLevels, namesOf, type RetryLevel } from './topology.js';
import { RabbitTransport } from './transport.js';

export interface MessagingOptions {
  readonly service: Service;
  readonly subscriptions: readonly Subscription[];
  /** `amqp://<mesh>-<service>:password@host:port/<vhost>`; the user's name is how others know who speaks. */
  readonly url: string;
  readonly levels?: readonly RetryLevel[];
  readonly prefetch?: number;
  readonly onTrouble: (what: string, error: unknown, fields?: Record<string, unknown>) => void;
}

const optionsToken = Symbol('messaging options');

/** Two connections, because a publisher that the broker blocks must not stall acknowledgements. */
@Injectable()
export class Messaging implements OnModuleInit {
  private readonly publishing: BrokerConnection;
  private readonly consuming: BrokerConnection;
  private readonly relay: OutboxRelay;
  private readonly pruner: InboxPruner;
  private collector: ParkedCollector | undefined;
  readonly transport: RabbitTransport;

  constructor(
    @Inject(optionsToken) private readonly options: MessagingOptions,
    private readonly discovery: DiscoveryService,
    database: Database,
    private readonly outbox: Outbox,
    modules: ModuleRef,
  ) {
    const { service, url, onTrouble } = options;
    const user = decodeURIComponent(new URL(url).username);
    const userOf = usersOfTheMesh(user, service);
    const connect = (purpose: string) => new BrokerConnection({ url, name: `${service} ${purpose}`, onTrouble });
    this.publishing = connect('publishing');
    this.consuming = connect('consuming');
    this.relay = new OutboxRelay(database, outbox, this.publishing, user, onTrouble);
    this.pruner = new InboxPruner(database, onTrouble);
    this.transport = new RabbitTransport(
      {
        service,
        subscriptions: options.subscriptions,
        levels: options.levels ?? defaultRetryLevels,
        userOf,
        prefetch: options.prefetch ?? 20,
        onTrouble,
      },
      modules,
      database,
      outbox,
      this.consuming,
    );
  }

  async onModuleInit(): Promise<void> {
    const handlers = this.discovery
      .getProviders()
      .map((provider) => provider.metatype as unknown)
      .filter((type): type is new () => MessageHandler => isHandler(type));
    checkSubscriptions(this.options.service, this.options.subscriptions, handlers);
    await Promise.all([this.publishing.start(), this.consuming.start()]);
    this.relay.start();
    this.pruner.start();
  }

  /**
   * Asks the owners for the current facts of every kind of which this service has never heard any. Called when the
   * queues are bound: what was said before is said again, and what is said from now on arrives.
   */
  async askForWhatWasMissed(): Promise<void> {
    const heard = this.options.subscriptions
      .map((one) => one.contract)
      .filter((one) => one.kind === 'fact' && one.whole);
    await this.outbox.transaction({}, async (ctx) => {
      const known = await ctx.query<{ type: string }>('SELECT DISTINCT type FROM heard');
      const missed = heard.filter((contract) => !known.some(({ type }) => type === contract.type));
      const kinds = new Set(missed.flatMap((contract) => (contract.kind === 'fact' ? [contract.subject] : [])));
      const subscription = namesOf(this.options.service).facts;
      for (const subjectKind of kinds) await ctx.publish(RepublishRequested, { subscription, subjectKind });
    });
  }

  /** Why messages are not sent or handled just now; empty: all is well. */
  get troubles(): string[] {
    return [this.publishing.trouble, this.relay.trouble, ...this.transport.troubles].filter((one) => one !== undefined);
  }

  /** Copies everybody's parked messages to `store`, until the service drains. */
  collectParked(services: readonly Service[], store: (message: ParkedMessage) => Promise<void>): void {
    this.collector = new ParkedCollector(this.consuming, services, store, this.options.onTrouble);
  }

  async drainConsumers(): Promise<void> {
    await Promise.all([this.transport.drain(), this.collector?.drain()]);
  }

  /** Last of all: what handlers and reconcilers said until now leaves, as far as the broker takes it. */
  async drainOutbox(): Promise<void> {
    this.pruner.stop();
    await this.relay.drain();
    await Promise.all([this.publishing.close(), this.consuming.close()]);
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
          provide: Outbox,
          useFactory: (database: Database) => new Outbox(database, options.service),
          inject: [Database],
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
