import {
  answerKeys,
  type Contract,
  contentType,
  type FactContract,
  type InputOf,
  maxBodyBytes,
  newId,
  ownersOf,
  RepublishCompleted,
  type RequestContract,
  type Service,
} from '#contracts/index.js';
import type { Database, Transaction } from '#persistence/index.js';
import type { Asked } from './asked.js';
import { eventsExchange, republishExchange } from './topology.js';

/** Why something is said: carried on, so that every message can be followed back to the request it comes from. */
export interface Cause {
  readonly traceparent?: string | undefined;
  readonly correlationId?: string | undefined;
  readonly causationId?: string | undefined;
}

/** A transaction in which things can be said. What is said leaves only if what is saved stays. */
export interface PublishContext extends Transaction {
  /**
   * Puts the message into the outbox. The relay sends it, at least once, after COMMIT.
   * Throws when the data does not fit the contract: that is a bug of the caller, and nothing is committed.
   * @returns the message's id.
   */
  publish<C extends Contract>(contract: C, data: InputOf<C>): Promise<string>;
}

/** What this service says, in the same transaction as what it saves. */
export class Outbox {
  /** Set by the relay: called after each commit that said something. */
  onCommit: () => void = () => {};

  constructor(
    private readonly database: Database,
    private readonly service: Service,
    private readonly asked: Asked,
  ) {}

  /** One transaction that can publish, for whoever works outside a message: reconcilers and schedules. */
  transaction<T>(cause: Cause, work: (ctx: PublishContext) => Promise<T>): Promise<T> {
    return this.database.transaction((tx) => work(this.within(tx, cause)));
  }

  within(tx: Transaction, cause: Cause): PublishContext {
    return { ...tx, publish: (contract, data) => this.write(tx, cause, contract, data) };
  }

  /**
   * Says the current facts of `keys` again, word for word and under their old ids, to one queue only: who has handled
   * one knows it, who has not gets it. Last comes the word that these were all.
   */
  async republish(
    tx: Transaction,
    cause: Cause & { readonly causationId: string },
    wanted: { readonly keys: readonly string[]; readonly subjectKind: string; readonly since?: string | undefined },
    queue: string,
  ): Promise<void> {
    const rows = await tx.query(
      `INSERT INTO outbox (message_id, exchange, routing_key, body, traceparent)
       SELECT message_id, $2, $3, body, traceparent FROM current_fact
       WHERE routing_key = ANY($1) AND ($4::timestamptz IS NULL OR said_at >= $4) ORDER BY said_at
       RETURNING 1`,
      [wanted.keys, republishExchange, queue, wanted.since ?? null],
    );
    const completed = await this.compose(tx, cause, RepublishCompleted, {
      requestId: cause.causationId,
      subjectKind: wanted.subjectKind,
      facts: rows.length,
    });
    await this.put(tx, republishExchange, queue, completed);
  }

  /** To a service that asks again what was answered before: the same answers under their old ids, to it alone. */
  async answerAgain(tx: Transaction, requestId: string, queue: string): Promise<void> {
    await tx.query(
      `INSERT INTO outbox (message_id, exchange, routing_key, body, traceparent)
       SELECT message_id, $2, $3, body, traceparent FROM answer WHERE request_id = $1 ORDER BY said_at`,
      [requestId, republishExchange, queue],
    );
    tx.afterCommit(() => this.onCommit());
  }

  private async write(tx: Transaction, cause: Cause, contract: Contract, input: unknown): Promise<string> {
    const message = await this.compose(tx, cause, contract, input);
    await this.put(tx, eventsExchange, contract.key, message);
    if (contract.kind === 'fact') await this.keep(tx, cause, contract, message);
    else if (contract.answeredBy)
      await this.asked.note(
        tx,
        {
          messageId: message.id,
          routingKey: contract.key,
          body: message.body,
          traceparent: message.traceparent,
          repeatable: contract.repeatable ?? false,
        },
        whoAnswers(contract, message.data),
      );
    return message.id;
  }

  private async compose(tx: Transaction, cause: Cause, contract: Contract, input: unknown): Promise<Composed> {
    const data = contract.data.parse(input);
    const id = newId();
    const envelope: Record<string, unknown> = {
      specversion: '1.0',
      id,
      source: this.service,
      type: contract.type,
      time: new Date().toISOString(),
      datacontenttype: 'application/json',
      ...(cause.traceparent && { traceparent: cause.traceparent }),
      ...(cause.correlationId && { correlationid: cause.correlationId }),
      ...(cause.causationId && { causationid: cause.causationId }),
      data,
    };
    let subject = '';
    if (contract.kind === 'fact') {
      if (contract.publisher !== this.service && contract.publisher !== 'every-owner')
        throw new Error(`${contract.type} is said by ${contract.publisher}, not by ${this.service}`);
      subject = contract.subjectOf(data);
      envelope.subject = subject;
      envelope.sequence = await this.nextSequence(tx, subject);
    }
    const body = JSON.stringify(envelope);
    if (Buffer.byteLength(body) > maxBodyBytes)
      throw new Error(`${contract.type} ${id} has more than ${maxBodyBytes} bytes; no service would read it`);
    return { id, subject, body, traceparent: cause.traceparent ?? null, data };
  }

  private async put(tx: Transaction, exchange: string, routingKey: string, message: Composed): Promise<void> {
    await tx.query(
      'INSERT INTO outbox (message_id, exchange, routing_key, body, traceparent) VALUES ($1, $2, $3, $4, $5)',
      [message.id, exchange, routingKey, message.body, message.traceparent],
    );
    tx.afterCommit(() => this.onCommit());
  }

  /** What has to be said again one day: to who is born late, or to who asks again. */
  private async keep(tx: Transaction, cause: Cause, contract: FactContract, message: Composed): Promise<void> {
    const { id, subject, body, traceparent } = message;
    if (contract.replaces)
      await tx.query('DELETE FROM current_fact WHERE subject = $1 AND routing_key = ANY($2)', [
        subject,
        contract.replaces,
      ]);
    if (contract.whole)
      await tx.query(
        `INSERT INTO current_fact (routing_key, subject, message_id, body, traceparent) VALUES ($1, $2, $3, $4, $5)
         ON CONFLICT (routing_key, subject) DO UPDATE SET message_id = excluded.message_id, body = excluded.body,
           traceparent = excluded.traceparent, said_at = now()`,
        [contract.key, subject, id, body, traceparent],
      );
    if (cause.causationId && answerKeys.has(contract.key))
      await tx.query('INSERT INTO answer (request_id, message_id, body, traceparent) VALUES ($1, $2, $3, $4)', [
        cause.causationId,
        id,
        body,
        traceparent,
      ]);
  }

  /**
   * max(previous + 1, unix milliseconds). The row stays locked until the transaction ends, so facts about one subject
   * are committed in the order of their sequence; the clock lets a service start again from an empty database.
   */
  private async nextSequence(tx: Transaction, subject: string): Promise<number> {
    const [row] = await tx.query<{ sequence: string }>(
      `INSERT INTO said AS s (subject, sequence) VALUES ($1, (extract(epoch FROM clock_timestamp()) * 1000)::bigint)
       ON CONFLICT (subject) DO UPDATE SET sequence = greatest(s.sequence + 1, excluded.sequence)
       RETURNING sequence`,
      [subject],
    );
    return Number(row!.sequence);
  }
}

interface Composed {
  readonly id: string;
  readonly subject: string;
  readonly body: string;
  readonly traceparent: string | null;
  readonly data: unknown;
}

function whoAnswers(contract: RequestContract, data: unknown): Service[] {
  if (contract.owner !== 'every-owner') return [contract.owner];
  return ownersOf((data as { subjectKind: string }).subjectKind);
}

/** The AMQP properties of everything that goes to the exchange. */
export function propertiesOf(message: { id: string; type?: string; userId: string; traceparent?: string | null }) {
  return {
    messageId: message.id,
    contentType,
    persistent: true,
    // Checked by the broker against the connection's user: a receiver can believe it.
    userId: message.userId,
    ...(message.traceparent && { headers: { traceparent: message.traceparent } }),
  };
}
