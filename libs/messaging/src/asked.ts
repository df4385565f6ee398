import type { Service } from '#contracts/index.js';
import type { Database, Transaction } from '#persistence/index.js';
import { eventsExchange } from './topology.js';

/** How soon a request that was not answered is asked again; the wait doubles each time, to ten minutes. */
export const defaultAskAgainMs = 30_000;
const longestWaitMs = 600_000;

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

  /** Part of the transaction that asks. */
  async note(
    tx: Transaction,
    asked: { messageId: string; routingKey: string; body: string; traceparent: string | null },
    owners: readonly Service[],
  ): Promise<void> {
    await tx.query(
      `INSERT INTO asked (message_id, owner, routing_key, body, traceparent, due_at)
       SELECT $1, owner, $2, $3, $4, now() + $5 * interval '1 millisecond' FROM unnest($6::text[]) owner`,
      [asked.messageId, asked.routingKey, asked.body, asked.traceparent, this.againMs, owners],
    );
  }

  /** Part of the transaction in which the answer is handled. */
  async settle(tx: Transaction, messageId: string, owner: string): Promise<void> {
    await tx.query('DELETE FROM asked WHERE message_id = $1 AND owner = $2', [messageId, owner]);
  }

  /** Puts what is due into the outbox once more. @returns how many messages. */
  async askAgain(): Promise<number> {
    const again = await this.database.query(
      `WITH due AS (
         UPDATE asked SET times = times + 1,
           due_at = now() + least($1::float8 * power(2, least(times, 20)), $2) * interval '1 millisecond'
         WHERE due_at <= now() RETURNING message_id, routing_key, body, traceparent)
       INSERT INTO outbox (message_id, exchange, routing_key, body, traceparent)
       SELECT DISTINCT message_id::uuid, $3, routing_key, body, traceparent FROM due RETURNING 1`,
      [this.againMs, longestWaitMs, eventsExchange],
    );
    return again.length;
  }
}
