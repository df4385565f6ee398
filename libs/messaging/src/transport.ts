import { ModuleRef } from '@nestjs/core';
import { type CustomTransportStrategy, Server } from '@nestjs/microservices';
import { type Context, context, ROOT_CONTEXT, SpanKind } from '@opentelemetry/api';
import type { ConfirmChannel } from 'amqplib';
import {
  answerKeys,
  type Contract,
  type Envelope,
  RepublishCompleted,
  type Service,
  services,
} from '#contracts/index.js';
import { about, contextOf, forget, inSpan, spanContextOf } from '#observability/index.js';
import { type Database, isUnavailable, type Transaction } from '#persistence/index.js';
import type { Answer, Asked } from './asked.js';
import { Batches, batchLimit } from './batches.js';
import type { BrokerConnection } from './broker.js';
import { Consumer, type ConsumerOptions } from './consumer.js';
import { type Delivery, readData, readEnvelope, Unreadable } from './delivery.js';
import type { ConsumeContext, MessageHandler, Subscription } from './handler.js';
import { admit, admitTogether, type Verdict } from './inbox.js';
import { aboutMessage, originOfMessage, processAttributes } from './message-spans.js';
import type { Outbox } from './outbox.js';
import { declareService, namesOf, queuesOf, type RetryLevel, republishExchange } from './topology.js';

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

/** A delivery against which nothing can be said without the database. */
interface Incoming {
  readonly delivery: Delivery;
  readonly contract: Contract;
  readonly envelope: Envelope;
  readonly facts: Subscription['facts'];
  /** The service that says the fact. */
  readonly publisher: Service | undefined;
  readonly data: unknown;
  readonly traceparent: string;
  /** With its span. */
  readonly within: Context;
  /** The beginning of its trace, where that is here: has to be told before COMMIT. */
  readonly told: Promise<void> | undefined;
}

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
  /** Of deliveries in hand: how often each was tried in this process, and its trace. */
  private readonly worked = new WeakMap<Delivery, { readonly tries: number; readonly traceparent: string }>();
  private readonly batches: Batches<Incoming, Handled>;

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
    this.batches = new Batches({
      together: (messages) => this.handleTogether(messages),
      alone: (message) => this.handleAlone(message),
      onUndone: (error, messages) => options.onTrouble('batch undone, handled one by one', error, { messages }),
    });
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
    const batches = subscriptions.some((one) => one.batch);
    for (const queue of [requests, facts]) {
      this.consumers.push(
        new Consumer(this.connection, {
          service,
          queue,
          // One batch at work, and the next one at hand.
          prefetch: queue === facts && batches ? Math.max(prefetch, 2 * batchLimit) : prefetch,
          levels,
          user: userOf(service),
          replayUser: userOf('api-gateway'),
          declare: (channel: ConfirmChannel) => this.declare(channel, contracts),
          process: (delivery, before) => this.process(delivery, before),
          traceOf: (delivery) => this.worked.get(delivery)?.traceparent,
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

  private async process(delivery: Delivery, before: () => Promise<void>): Promise<void> {
    const envelope = readEnvelope(delivery.message.content);
    const subscription = this.byType.get(envelope.type);
    // Every service hears this one, if only for itself: it ends what it asked for.
    const contract = subscription?.contract ?? (envelope.type === RepublishCompleted.type && RepublishCompleted);
    if (!contract) {
      // The owners say all current facts of a kind again; those that are not heard here are nobody's mistake.
      if (delivery.message.fields.exchange === republishExchange) return;
      throw new Unreadable({ code: 'unknown-type', text: `${this.options.service} does not hear ${envelope.type}` });
    }
    const publisher = this.refuseForgeries(contract, envelope, delivery);
    const data = readData(contract, envelope.data);
    // The facts that it speaks of came before it, and may wait in a batch.
    if (contract === RepublishCompleted) await before();

    const begun = performance.now();
    // What follows hangs below the incoming context, not below this span: a process that is killed never exports its
    // span, and nobody may have a parent that was never seen. Where none came in, one is told before COMMIT.
    const incoming = incomingTrace(envelope, delivery);
    const origin = incoming ? undefined : originOfMessage(contract, envelope, delivery);
    const traceparent = incoming ?? origin!.traceparent;
    const parent = about(aboutMessage(envelope, data), contextOf(traceparent));
    const tries = (this.worked.get(delivery)?.tries ?? 0) + 1;
    this.worked.set(delivery, { tries, traceparent });
    // A copy comes from one who had told it.
    const first = delivery.attempt === 1 && tries === 1;
    const told = first ? context.with(parent, () => origin?.tell()) : undefined;
    const attributes = {
      ...processAttributes(contract, envelope, delivery),
      'mesh.attempt': delivery.attempt,
      ...(tries > 1 && { 'mesh.try': tries }),
    };
    await inSpan(`process ${delivery.queue}`, { kind: SpanKind.CONSUMER, attributes, parent }, async (span) => {
      const facts = subscription?.facts ?? 'newest';
      const within = context.active();
      const message: Incoming = { delivery, contract, envelope, facts, publisher, data, traceparent, within, told };
      // What failed before, or killed a process, would take others with it.
      const sound = first && delivery.returned === 0 && !delivery.replayOf;
      try {
        const verdict = await (subscription?.batch && sound ? this.batches.add(message) : this.handleAlone(message));
        span.setAttribute('mesh.verdict', verdict);
        this.options.onHandled(delivery.queue, envelope.type, verdict, ageOf(envelope), performance.now() - begun);
        if (verdict === 'overtaken' && delivery.replayOf)
          throw new Unreadable({
            code: 'superseded',
            text: `a later ${contract.type} about ${envelope.subject} was handled meanwhile, so this one changed nothing`,
          });
      } catch (error) {
        // Says nothing about the message, which is held and comes again each second for as long as that lasts.
        if (isUnavailable(error)) forget(span);
        throw error;
      } finally {
        await told;
      }
    });
  }

  private handleAlone(message: Incoming): Promise<Handled> {
    return context.with(message.within, () =>
      this.database.transaction(async (tx) => {
        const { contract, envelope, facts, delivery } = message;
        await this.asked.settle(tx, answersIn([message]));
        const admitted = await admit(tx, contract, envelope, facts);
        if (admitted === 'duplicate') await this.answerAgain(tx, contract, envelope, delivery);
        return await this.handle(tx, message, admitted);
      }),
    );
  }

  /** Facts alone, all or none. */
  private handleTogether(messages: readonly Incoming[]): Promise<Handled[]> {
    return context.with(ROOT_CONTEXT, () =>
      this.database.transaction(async (tx) => {
        await this.asked.settle(tx, answersIn(messages));
        const admitted = await admitTogether(tx, messages);
        const verdicts: Handled[] = [];
        // By subject, so that two batches come to the rows they both need in the same order; those about one subject as
        // they came.
        for (const index of orderBySubject(messages)) {
          const message = messages[index]!;
          verdicts[index] = await context.with(message.within, () => this.handle(tx, message, admitted[index]!));
        }
        return verdicts;
      }),
    );
  }

  private async handle(tx: Transaction, message: Incoming, admitted: Verdict): Promise<Handled> {
    const { envelope, delivery, data, traceparent } = message;
    // By its name and not by Nest's pattern, for which each type would be parsed as JSON first.
    const handle = this.messageHandlers.get(envelope.type);
    const every = this.everyByType.get(envelope.type);
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
        publishedBy: this.serviceOf(delivery.publisher),
        traceparent,
        correlationId,
        causationId: envelope.causationid,
        attempt: delivery.attempt,
      },
    };
    await every?.handle(data, ctx);
    if (admitted !== 'overtaken') await handle?.(data, ctx);
    await message.told;
    return admitted === 'overtaken' ? admitted : 'handled';
  }

  /** A service of the mesh asks again because it has not heard the answer: it gets it again. */
  private async answerAgain(
    tx: Transaction,
    contract: Contract,
    envelope: Envelope,
    delivery: Delivery,
  ): Promise<void> {
    if (contract.kind !== 'request') return;
    const asking = this.serviceOf(delivery.publisher);
    if (asking) await this.outbox.answerAgain(tx, envelope.id, namesOf(asking).facts);
  }

  private serviceOf(user: string | undefined): Service | undefined {
    return services.find((service) => this.options.userOf(service) === user);
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

/** Which of our requests these messages answer. */
function answersIn(messages: readonly Incoming[]): Answer[] {
  return messages.flatMap(({ contract, envelope: { causationid }, publisher }) =>
    publisher && causationid && answerKeys.has(contract.key) ? [{ requestId: causationid, owner: publisher }] : [],
  );
}

function orderBySubject(messages: readonly Incoming[]): number[] {
  const subjectOf = (index: number) => messages[index]!.envelope.subject!;
  return [...messages.keys()].sort((a, b) => (subjectOf(a) < subjectOf(b) ? -1 : subjectOf(a) > subjectOf(b) ? 1 : 0));
}

function ageOf({ time }: Envelope): number | undefined {
  return time === undefined ? undefined : Math.max(0, Date.now() - Date.parse(time));
}

/** The envelope's own, else the header's; a broken one is ignored, as that standard asks. */
function incomingTrace(envelope: Envelope, delivery: Delivery): string | undefined {
  const candidates = [envelope.traceparent, delivery.message.properties.headers?.traceparent];
  return candidates.find((one): one is string => spanContextOf(one) !== undefined);
}
