import { ModuleRef } from '@nestjs/core';
import { type CustomTransportStrategy, Server } from '@nestjs/microservices';
import { context, ROOT_CONTEXT, SpanKind, SpanStatusCode, trace } from '@opentelemetry/api';
import type { ConfirmChannel } from 'amqplib';
import {
  answerKeys,
  type Contract,
  type Envelope,
  RepublishCompleted,
  type Service,
  services,
} from '#contracts/index.js';
import type { Database, Transaction } from '#persistence/index.js';
import type { Asked } from './asked.js';
import type { BrokerConnection } from './broker.js';
import { Consumer, type ConsumerOptions } from './consumer.js';
import { type Delivery, readData, readEnvelope, Unreadable } from './delivery.js';
import type { ConsumeContext, MessageHandler, Subscription } from './handler.js';
import { admit } from './inbox.js';
import type { Outbox } from './outbox.js';
import { declareService, namesOf, queuesOf, type RetryLevel, republishExchange } from './topology.js';
import { contextOf, spanContextOf, traceparentOf } from './traceparent.js';

export interface TransportOptions {
  readonly service: Service;
  readonly subscriptions: readonly Subscription[];
  readonly levels: readonly RetryLevel[];
  /** The broker user of a service of this mesh. */
  readonly userOf: (service: Service) => string;
  readonly prefetch: number;
  readonly onTrouble: ConsumerOptions['onTrouble'];
  /**
   * These queues are not there: this is the first start, or the broker has lost them with all that was in them. They are
   * made only when it resolves, so that what it notes cannot be forgotten by a crash.
   */
  readonly onMissingQueues: (queues: readonly string[]) => Promise<void>;
  /** The queues are there again, and bound. */
  readonly onQueuesMade: () => Promise<void>;
  readonly onFailed: ConsumerOptions['onFailed'];
  /** Called for every message that came to its end, with how old it was by its publisher's clock, and how long it took. */
  readonly onHandled: (
    queue: string,
    type: string,
    verdict: Handled,
    ageMs: number | undefined,
    tookMs: number,
  ) => void;
}

/** `overtaken`: a later fact of its kind was handled before. */
export type Handled = 'handled' | 'duplicate' | 'overtaken';

/**
 * Hosts our consumer inside Nest. Handlers are fed from `subscriptions.ts` through `addHandler`, a line each; there are
 * no decorators. Nest's stock RabbitMQ transport is not used, because it loses messages (facts: messaging, traps 6-9).
 */
export class RabbitTransport extends Server implements CustomTransportStrategy {
  override readonly transportId = Symbol('mesh rabbit');
  private readonly consumers: Consumer[] = [];
  private readonly byType: ReadonlyMap<string, Subscription>;
  private readonly everyByType = new Map<string, MessageHandler>();
  private declaring: Promise<void> = Promise.resolve();

  constructor(
    private readonly options: TransportOptions,
    private readonly modules: ModuleRef,
    private readonly database: Database,
    private readonly outbox: Outbox,
    private readonly asked: Asked,
    private readonly connection: BrokerConnection,
  ) {
    super();
    this.byType = new Map(options.subscriptions.map((one) => [one.contract.type, one]));
  }

  /** Resolves through `callback` when both queues exist and are consumed. */
  listen(callback: (error?: unknown) => void): void {
    const { service, levels, subscriptions, prefetch, onTrouble, onFailed, userOf } = this.options;
    for (const { contract, handler, every } of subscriptions) {
      if (every) this.everyByType.set(contract.type, this.modules.get(every, { strict: false }));
      const instance: MessageHandler = this.modules.get(handler, { strict: false });
      this.addHandler(contract.type, (data, ctx) => instance.handle(data, ctx), contract.kind === 'fact');
    }
    const contracts = subscriptions.map((one) => one.contract);
    const { requests, facts } = namesOf(service);
    for (const queue of [requests, facts]) {
      this.consumers.push(
        new Consumer(this.connection, {
          service,
          queue,
          prefetch,
          levels,
          user: userOf(service),
          replayUser: userOf('api-gateway'),
          declare: (channel: ConfirmChannel) => this.declare(channel, contracts),
          process: (delivery) => this.process(delivery),
          onTrouble,
          onFailed,
        }),
      );
    }
    Promise.all(this.consumers.map((consumer) => consumer.started)).then(() => callback(), callback);
  }

  /** What keeps messages from being handled just now. */
  get troubles(): string[] {
    return this.consumers.map((consumer) => consumer.trouble).filter((one) => one !== undefined);
  }

  async drain(): Promise<void> {
    await Promise.all(this.consumers.map((consumer) => consumer.drain()));
  }

  async close(): Promise<void> {
    await this.drain();
  }

  on(): never {
    throw new Error('the mesh transport has no events');
  }

  unwrap<T>(): T {
    return this.connection as T;
  }

  /** One at a time, so that it is noticed whose queues were missing before anybody has made them. */
  private declare(channel: ConfirmChannel, contracts: readonly Contract[]): Promise<void> {
    const { service, levels, onMissingQueues, onQueuesMade } = this.options;
    const declared = this.declaring.then(async () => {
      const queues = queuesOf(service, levels);
      const there = await this.connection.countMessages(queues);
      const missing = queues.filter((queue) => !there.has(queue));
      if (missing.length > 0) await onMissingQueues(missing);
      await declareService(channel, service, contracts, levels);
      if (missing.length > 0) await onQueuesMade();
    });
    this.declaring = declared.catch(() => {});
    return declared;
  }

  private async process(delivery: Delivery): Promise<void> {
    const envelope = readEnvelope(delivery.message.content);
    const subscription = this.byType.get(envelope.type);
    // Every service hears this one, if only for itself: it ends what it asked for.
    const contract = subscription?.contract ?? (envelope.type === RepublishCompleted.type && RepublishCompleted);
    if (!contract) {
      // The owners say all current facts of a kind again; those that are not heard here are nobody's mistake.
      if (delivery.message.fields.exchange === republishExchange) return;
      throw new Unreadable({ code: 'unknown-type', text: `${this.options.service} does not hear ${envelope.type}` });
    }
    // By its name and not by Nest's pattern, for which each type would be parsed as JSON first.
    const handle = subscription ? this.messageHandlers.get(envelope.type)! : async () => {};
    const every = this.everyByType.get(envelope.type);
    const publisher = this.refuseForgeries(contract, envelope, delivery);
    const data = readData(contract, envelope.data);

    const begun = performance.now();
    const incoming = incomingTrace(envelope, delivery);
    const span = trace.getTracer('mesh.messaging').startSpan(
      `process ${delivery.queue}`,
      {
        kind: SpanKind.CONSUMER,
        attributes: {
          'messaging.system': 'rabbitmq',
          'messaging.operation.name': 'process',
          'messaging.operation.type': 'process',
          'messaging.destination.name': delivery.queue,
          'messaging.rabbitmq.destination.routing_key': contract.key,
          'messaging.message.id': envelope.id,
          'messaging.message.conversation_id': envelope.correlationid ?? envelope.id,
          'mesh.attempt': delivery.attempt,
        },
      },
      contextOf(incoming),
    );
    await context.with(trace.setSpan(ROOT_CONTEXT, span), async () => {
      try {
        // What follows hangs below the incoming context, not below this span: a process that is killed never exports
        // its span, and nobody may have a parent that was never seen. Only a message without a context starts here.
        const traceparent = incoming ?? traceparentOf(span.spanContext());
        const verdict = await this.database.transaction(async (tx) => {
          if (publisher && envelope.causationid && answerKeys.has(contract.key))
            await this.asked.settle(tx, envelope.causationid, publisher);
          const admitted = await admit(tx, contract, envelope, subscription?.facts ?? 'newest');
          if (admitted === 'duplicate') await this.answerAgain(tx, contract, envelope, delivery);
          if (admitted === 'duplicate' || (admitted === 'overtaken' && !every)) return admitted;
          const correlationId = envelope.correlationid ?? envelope.id;
          const ctx: ConsumeContext = {
            ...this.outbox.within(tx, { traceparent, correlationId, causationId: envelope.id }),
            message: {
              id: envelope.id,
              source: envelope.source,
              type: envelope.type,
              time: envelope.time,
              subject: envelope.subject,
              sequence: envelope.sequence,
              publisher: delivery.publisher,
              traceparent,
              correlationId,
              attempt: delivery.attempt,
            },
          };
          await every?.handle(data, ctx);
          if (admitted === 'overtaken') return admitted;
          await handle(data, ctx);
          return 'handled' as const;
        });
        span.setAttribute('mesh.verdict', verdict);
        this.options.onHandled(delivery.queue, envelope.type, verdict, ageOf(envelope), performance.now() - begun);
        if (verdict === 'overtaken' && delivery.replayOf)
          throw new Unreadable({
            code: 'superseded',
            text: `a later ${contract.type} about ${envelope.subject} was handled meanwhile, so this one changed nothing`,
          });
      } catch (error) {
        span.setStatus({ code: SpanStatusCode.ERROR, message: (error as Error).name });
        throw error;
      } finally {
        span.end();
      }
    });
  }

  /** A service of the mesh asks again because it has not heard the answer: it gets it again. */
  private async answerAgain(
    tx: Transaction,
    contract: Contract,
    envelope: Envelope,
    delivery: Delivery,
  ): Promise<void> {
    if (contract.kind !== 'request') return;
    const asking = services.find((service) => this.options.userOf(service) === delivery.publisher);
    if (asking) await this.outbox.answerAgain(tx, envelope.id, namesOf(asking).facts);
  }

  /**
   * A fact is believed only from the service that may say it; a request, where its contract says whose.
   * @returns the service that says the fact.
   */
  private refuseForgeries(contract: Contract, envelope: Envelope, delivery: Delivery): Service | undefined {
    const believed = believedOf(contract, envelope);
    const publisher = believed?.find((service) => this.options.userOf(service) === delivery.publisher);
    if (believed && !publisher)
      throw new Unreadable({
        code: 'forged',
        text: `${contract.type} is believed only from ${believed.join(', ')}; the broker says it came from ${delivery.publisher ?? 'somebody who gave no user-id'}`,
      });
    if (contract.kind === 'request') return undefined;
    if (contract.firstHand && delivery.replayOf)
      throw new Unreadable({
        code: 'forged',
        text: `${contract.type} is believed only when ${contract.publisher} says it itself: ask for a new one`,
      });
    if (envelope.subject === undefined || envelope.sequence === undefined)
      throw new Unreadable({ code: 'broken-envelope', text: `${contract.type} is a fact without subject or sequence` });
    return publisher;
  }
}

function believedOf(contract: Contract, envelope: Envelope): readonly Service[] | undefined {
  if (contract.kind === 'request') return contract.believedFrom;
  if (contract.publisher !== 'every-owner') return [contract.publisher];
  // Each for itself: whoever speaks in another's name is not believed.
  return services.filter((service) => service === envelope.source);
}

function ageOf({ time }: Envelope): number | undefined {
  return time === undefined ? undefined : Math.max(0, Date.now() - Date.parse(time));
}

/** The envelope's own, else the header's; a broken one is ignored, as that standard asks. */
function incomingTrace(envelope: Envelope, delivery: Delivery): string | undefined {
  const candidates = [envelope.traceparent, delivery.message.properties.headers?.traceparent];
  return candidates.find((one): one is string => spanContextOf(one) !== undefined);
}
