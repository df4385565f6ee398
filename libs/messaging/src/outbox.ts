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
import { aboutNow, learn, originNow } from '#observability/index.js';
import type { Database, Transaction } from '#persistence/index.js';
import type { Asked } from './asked.js';
import { aboutData, originOfOwn } from './message-spans.js';
import { eventsExchange, republishExchange } from './topology.js';

/** Why something is said: carried on, so that every message can be followed back to the request it comes from. */
export interface Cause {
  /** Absent: a trace begins here, unless what is at work has begun one. */
  readonly traceparent?: string | undefined;
  readonly correlationId?: string | undefined;
  readonly causationId?: string | undefined;
}

/** Digits of a sequence. */
const longestSequence = 19;

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
    const completed = { requestId: cause.causationId, subjectKind: wanted.subjectKind, facts: rows.length };
    await this.say(tx, cause, RepublishCompleted, completed, republishExchange, queue);
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
    if (contract.kind === 'fact') return await this.say(tx, cause, contract, input, eventsExchange, contract.key);
    const id = await this.request(tx, cause, contract, input, true);
    tx.afterCommit(() => this.onCommit());
    return id;
  }

  /**
   * A request that is not sent yet, only noted: from then on it will be asked until it is answered, whoever dies.
   * (`Asked.hurry` makes it due.)
   */
  async noteRequest<C extends RequestContract>(
    tx: Transaction,
    cause: Cause,
    contract: C,
    input: InputOf<C>,
  ): Promise<void> {
    await this.request(tx, cause, contract, input, false);
  }

  private async request(
    tx: Transaction,
    cause: Cause,
    contract: RequestContract,
    input: unknown,
    send: boolean,
  ): Promise<string> {
    const data = contract.data.parse(input);
    const { id, text, traceparent } = await this.envelope(cause, contract, eventsExchange, { data });
    const message = { messageId: id, routingKey: contract.key, body: text, traceparent };
    // One that has no answer leaves and is forgotten.
    const owners = contract.answeredBy ? whoAnswers(contract, data) : [];
    await this.asked.note(tx, { ...message, repeatable: contract.repeatable ?? false }, owners, send);
    return id;
  }

  /**
   * One statement, because each is a round trip with the subject's row locked: the sequence, the outbox, and what has to
   * be said again one day, to who is born late or asks again.
   *
   * The sequence is max(previous + 1, unix milliseconds). The subject's row stays locked until the transaction ends, so
   * facts about one subject are committed in the order of their sequence; the clock lets a service start again from an
   * empty database.
   */
  private async say(
    tx: Transaction,
    cause: Cause,
    contract: FactContract,
    input: unknown,
    exchange: string,
    routingKey: string,
  ): Promise<string> {
    if (contract.publisher !== this.service && contract.publisher !== 'every-owner')
      throw new Error(`${contract.type} is said by ${contract.publisher}, not by ${this.service}`);
    const data = contract.data.parse(input);
    const subject = contract.subjectOf(data);
    // The database writes the number in between.
    const more = { subject, sequence: 0, data };
    const { id, text, traceparent } = await this.envelope(cause, contract, exchange, more);
    const at = text.indexOf('"sequence":0') + '"sequence":'.length;
    const keep = contract.whole && contract.publisher !== 'every-owner';
    const answers = cause.causationId !== undefined && answerKeys.has(contract.key);
    // What is replaced has to be searched for.
    const query = contract.replaces ? tx.query : tx.queryPrepared;
    await query(
      `WITH counted AS (
         INSERT INTO said AS s (subject, sequence) VALUES ($1, (extract(epoch FROM clock_timestamp()) * 1000)::bigint)
         ON CONFLICT (subject) DO UPDATE SET sequence = greatest(s.sequence + 1, excluded.sequence)
         RETURNING sequence),
       message AS (SELECT $2::uuid AS id, $3::text || sequence || $4::text AS body, $5::text AS traceparent FROM counted),
       ${contract.replaces ? 'replaced AS (DELETE FROM current_fact WHERE subject = $1 AND routing_key = ANY($8)),' : ''}
       ${
         keep
           ? `kept AS (
         INSERT INTO current_fact (routing_key, subject, message_id, body, traceparent)
         SELECT $7, $1, id, body, traceparent FROM message
         ON CONFLICT (routing_key, subject) DO UPDATE SET message_id = excluded.message_id, body = excluded.body,
           traceparent = excluded.traceparent, said_at = now()),`
           : ''
       }
       ${
         answers
           ? `answered AS (
         INSERT INTO answer (request_id, message_id, body, traceparent)
         SELECT $9, id, body, traceparent FROM message),`
           : ''
       }
       unused AS (SELECT $7::text, $8::text[], $9::text)
       INSERT INTO outbox (message_id, exchange, routing_key, body, traceparent)
       SELECT id, $6, $7, body, traceparent FROM message`,
      [
        subject,
        id,
        text.slice(0, at),
        text.slice(at + 1),
        traceparent,
        exchange,
        routingKey,
        contract.replaces ?? [],
        cause.causationId ?? null,
      ],
    );
    tx.afterCommit(() => this.onCommit());
    return id;
  }

  /** Resolves when the beginning of its trace, if that is here, has been told: nothing points to what nobody saw. */
  private async envelope(
    cause: Cause,
    contract: Contract,
    exchange: string,
    more: { readonly data: unknown },
  ): Promise<{ id: string; text: string; traceparent: string }> {
    const id = newId();
    const { correlationId = id } = cause;
    learn({ ...aboutData(more.data), operationId: correlationId });
    const origin = cause.traceparent
      ? undefined
      : (originNow() ?? originOfOwn(contract, exchange, { id, correlationId }));
    await origin?.tell();
    const traceparent = cause.traceparent ?? origin!.traceparent;
    const { customerId } = aboutNow();
    const text = JSON.stringify({
      specversion: '1.0',
      id,
      source: this.service,
      type: contract.type,
      time: new Date().toISOString(),
      datacontenttype: 'application/json',
      traceparent,
      ...(cause.correlationId && { correlationid: cause.correlationId }),
      ...(cause.causationId && { causationid: cause.causationId }),
      ...(customerId && { customerid: customerId }),
      ...more,
    });
    if (Buffer.byteLength(text) + longestSequence > maxBodyBytes)
      throw new Error(`${contract.type} ${id} has more than ${maxBodyBytes} bytes; no service would read it`);
    return { id, text, traceparent };
  }
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
