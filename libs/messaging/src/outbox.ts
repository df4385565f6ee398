import { type Contract, contentType, type InputOf, maxBodyBytes, newId, type Service } from '#contracts/index.js';
import type { Database, Transaction } from '#persistence/index.js';
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
   * one knows it, who has not gets it. @returns how many.
   */
  async republish(tx: Transaction, keys: readonly string[], queue: string, since?: string): Promise<number> {
    const rows = await tx.query(
      `INSERT INTO outbox (message_id, exchange, routing_key, body, traceparent)
       SELECT message_id, $2, $3, body, traceparent FROM current_fact
       WHERE routing_key = ANY($1) AND ($4::timestamptz IS NULL OR said_at >= $4) ORDER BY said_at
       RETURNING 1`,
      [keys, republishExchange, queue, since ?? null],
    );
    tx.afterCommit(() => this.onCommit());
    return rows.length;
  }

  private async write(tx: Transaction, cause: Cause, contract: Contract, input: unknown): Promise<string> {
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
    if (contract.kind === 'fact') {
      if (contract.publisher !== this.service)
        throw new Error(`${contract.type} is said by ${contract.publisher}, not by ${this.service}`);
      envelope.subject = contract.subjectOf(data);
      envelope.sequence = await this.nextSequence(tx, envelope.subject as string);
    }
    const body = JSON.stringify(envelope);
    if (Buffer.byteLength(body) > maxBodyBytes)
      throw new Error(`${contract.type} ${id} has more than ${maxBodyBytes} bytes; no service would read it`);
    const traceparent = cause.traceparent ?? null;
    await tx.query(
      'INSERT INTO outbox (message_id, exchange, routing_key, body, traceparent) VALUES ($1, $2, $3, $4, $5)',
      [id, eventsExchange, contract.key, body, traceparent],
    );
    if (contract.kind === 'fact' && contract.whole)
      await tx.query(
        `INSERT INTO current_fact (routing_key, subject, message_id, body, traceparent) VALUES ($1, $2, $3, $4, $5)
         ON CONFLICT (routing_key, subject) DO UPDATE SET message_id = excluded.message_id, body = excluded.body,
           traceparent = excluded.traceparent, said_at = now()`,
        [contract.key, envelope.subject, id, body, traceparent],
      );
    tx.afterCommit(() => this.onCommit());
    return id;
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
