import { ModuleRef } from '@nestjs/core';
import { type CustomTransportStrategy, Server } from '@nestjs/microservices';
import { context, ROOT_CONTEXT, SpanKind, SpanStatusCode, trace } from '@opentelemetry/api';
import type { ConfirmChannel } from 'amqplib';
import type { Contract, Envelope, Service } from '#contracts/index.js';
import type { Database } from '#persistence/index.js';
import type { BrokerConnection } from './broker.js';
import { Consumer, type ConsumerOptions } from './consumer.js';
import { type Delivery, readData, readEnvelope, Unreadable } from './delivery.js';
import type { ConsumeContext, MessageHandler, Subscription } from './handler.js';
import { admit } from './inbox.js';
import type { Outbox } from './outbox.js';
import { declareService, namesOf, type RetryLevel, republishExchange } from './topology.js';
import { contextOf, spanContextOf, traceparentOf } from './traceparent.js';

export interface TransportOptions {
  readonly service: Service;
  readonly subscriptions: readonly Subscription[];
  readonly levels: readonly RetryLevel[];
  /** The broker user of a service of this mesh. */
  readonly userOf: (service: Service) => string;
  readonly prefetch: number;
  readonly onTrouble: ConsumerOptions['onTrouble'];
  readonly onHandled?: (type: string, verdict: string) => void;
}

/**
 * Hosts our consumer inside Nest. Handlers are fed from `subscriptions.ts` through `addHandler`, a line each; there are
 * no decorators. Nest's stock RabbitMQ transport is not used, because it loses messages (facts: messaging, traps 6-9).
 */
export class RabbitTransport extends Server implements CustomTransportStrategy {
  override readonly transportId = Symbol('mesh rabbit');
  private readonly consumers: Consumer[] = [];
  private readonly byType: ReadonlyMap<string, Subscription>;

  constructor(
    private readonly options: TransportOptions,
    private readonly modules: ModuleRef,
    private readonly database: Database,
    private readonly outbox: Outbox,
    private readonly connection: BrokerConnection,
  ) {
    super();
    this.byType = new Map(options.subscriptions.map((one) => [one.contract.type, one]));
  }

  /** Resolves through `callback` when both queues exist and are consumed. */
  listen(callback: (error?: unknown) => void): void {
    const { service, levels, subscriptions, prefetch, onTrouble, userOf } = this.options;
    for (const { contract, handler } of subscriptions) {
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
          declare: (channel: ConfirmChannel) => declareService(channel, service, contracts, levels),
          process: (delivery) => this.process(delivery),
          onTrouble,
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

  private async process(delivery: Delivery): Promise<void> {
    const envelope = readEnvelope(delivery.message.content);
    const subscription = this.byType.get(envelope.type);
    const handle = this.getHandlerByPattern(envelope.type);
    // The owners say all current facts of a kind again; those that are not heard here are nobody's mistake.
    if (!subscription && delivery.message.fields.exchange === republishExchange) return;
    if (!subscription || !handle)
      throw new Unreadable({ code: 'unknown-type', text: `${this.options.service} does not hear ${envelope.type}` });
    const { contract } = subscription;
    this.refuseForgeries(contract, envelope, delivery);
    const data = readData(contract, envelope.data);

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
          const admitted = await admit(tx, contract, envelope, subscription.facts);
          if (admitted !== 'new') return admitted;
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
          await handle(data, ctx);
          return 'handled';
        });
        span.setAttribute('mesh.verdict', verdict);
        this.options.onHandled?.(envelope.type, verdict);
      } catch (error) {
        span.setStatus({ code: SpanStatusCode.ERROR, message: (error as Error).name });
        throw error;
      } finally {
        span.end();
      }
    });
  }

  /** A fact is believed only from the service that may say it; a request, where its contract says whose. */
  private refuseForgeries(contract: Contract, envelope: Envelope, delivery: Delivery): void {
    const believed = contract.kind === 'fact' ? [contract.publisher] : contract.believedFrom;
    if (believed && !believed.some((service) => this.options.userOf(service) === delivery.publisher))
      throw new Unreadable({
        code: 'forged',
        text: `${contract.type} is believed only from ${believed.join(', ')}; the broker says it came from ${delivery.publisher ?? 'somebody who gave no user-id'}`,
      });
    if (contract.kind === 'fact' && (envelope.subject === undefined || envelope.sequence === undefined))
      throw new Unreadable({ code: 'broken-envelope', text: `${contract.type} is a fact without subject or sequence` });
  }
}

/** The envelope's own, else the header's; a broken one is ignored, as that standard asks. */
function incomingTrace(envelope: Envelope, delivery: Delivery): string | undefined {
  const candidates = [envelope.traceparent, delivery.message.properties.headers?.traceparent];
  return candidates.find((one): one is string => spanContextOf(one) !== undefined);
}
