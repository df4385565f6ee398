import type { Service } from '#contracts/index.js';
import type { Database, Transaction } from '#persistence/index.js';
import { eventsExchange } from './topology.js';

/** How soon a request that was not answered is asked again; the wait doubles each time, to ten minutes. */
export const defaultAskAgainMs = 30_000;
/** The same for what may be done twice without harm. At the start of a whole mesh some ask before others can hear. */
const repeatAgainMs = 1_000;
const longestWaitMs = 600_000;

/** Who answers which request. */
export interface Answer {
  readonly requestId: string;
  readonly owner: Service;
}

/**
 * The requests of this service that were not answered yet, one row for each owner whose answer is due. A broker that
 * lost its queues costs them time and nothing else: they are asked again, word for word and under their old ids, until
 * the answer is there. What was handled already is answered again (see `answers` in outbox.ts).
 */
export class Asked {
  constructor(
    private readonly database: Database,
    private readonly againMs: number,
  ) {}

  /**
   * Part of the transaction that asks. `send`: it goes to the outbox too, in the same statement, because each is a round
   * trip; what is only noted is asked when it is due.
   */
  async note(
    tx: Transaction,
    asked: { messageId: string; routingKey: string; body: string; traceparent: string | null; repeatable: boolean },
    owners: readonly Service[],
    send: boolean,
  ): Promise<void> {
    const waitMs = asked.repeatable ? Math.min(repeatAgainMs, this.againMs) : this.againMs;
    await tx.queryPrepared(
      `WITH sent AS (
         INSERT INTO outbox (message_id, exchange, routing_key, body, traceparent)
         SELECT $1::uuid, $7::text, $2::text, $3::text, $4::text WHERE $8::boolean)
       INSERT INTO asked (message_id, owner, routing_key, body, traceparent, wait_ms, due_at)
       SELECT $1::text, owner, $2::text, $3::text, $4::text, $5::int, now() + $5::int * interval '1 millisecond'
       FROM unnest($6::text[]) owner`,
      [asked.messageId, asked.routingKey, asked.body, asked.traceparent, waitMs, owners, eventsExchange, send],
    );
  }

  /** Part of the transaction in which the answers are handled. */
  async settle(tx: Transaction, answers: readonly Answer[]): Promise<void> {
    if (answers.length === 0) return;
    await tx.query(
      `DELETE FROM asked USING unnest($1::text[], $2::text[]) AS answered (message_id, owner)
       WHERE asked.message_id = answered.message_id AND asked.owner = answered.owner`,
      [answers.map(({ requestId }) => requestId), answers.map(({ owner }) => owner)],
    );
  }

  /** Whose answers to requests of this kind are due. */
  async owners(routingKey: string): Promise<string[]> {
    const sql = 'SELECT DISTINCT owner FROM asked WHERE routing_key = $1 ORDER BY owner';
    return (await this.database.query<{ owner: string }>(sql, [routingKey])).map(({ owner }) => owner);
  }

  /** What was noted of this kind is due now. */
  async hurry(routingKey: string): Promise<void> {
    await this.database.query('UPDATE asked SET due_at = now() WHERE routing_key = $1', [routingKey]);
  }

  /**
   * Puts what is due into the outbox once more, but for what is being answered just now: who handles several answers and who
   * asks for several would otherwise wait for each other. @returns how many messages.
   */
  async askAgain(): Promise<number> {
    const again = await this.database.query(
      `WITH free AS MATERIALIZED (
         SELECT message_id, owner FROM asked WHERE due_at <= now() FOR UPDATE SKIP LOCKED
       ), due AS (
         UPDATE asked SET wait_ms = least(wait_ms * 2, $1::int), due_at = now() + least(wait_ms * 2, $1::int) * interval '1 millisecond'
         FROM free WHERE (asked.message_id, asked.owner) = (free.message_id, free.owner)
         RETURNING asked.message_id, routing_key, body, traceparent)
       INSERT INTO outbox (message_id, exchange, routing_key, body, traceparent)
       SELECT DISTINCT message_id::uuid, $2, routing_key, body, traceparent FROM due RETURNING 1`,
      [longestWaitMs, eventsExchange],
    );
    return again.length;
  }
}
