import { Injectable } from '@nestjs/common';
import { Messaging, type ParkedMessage } from '#messaging/index.js';
import { Database, type Transaction } from '#persistence/index.js';
import { type ParkedFilter, ParkedMessages, ParkedReplay, type ParkedView } from '../application/ports.js';

const columns = `id::text, parked_at AS "parkedAt", service, queue, type, message_id AS "messageId",
  routing_key AS "routingKey", publisher, reason, error, attempts, traceparent, body_bytes AS "bodyBytes", status,
  status_since AS "statusSince", status_reason AS "statusReason", replay_of::text AS "replayOf"`;

type WithBody = ParkedView & { readonly body: Buffer };

@Injectable()
export class ParkedMessageRepository extends ParkedMessages {
  constructor(private readonly database: Database) {
    super();
  }

  async add(message: ParkedMessage): Promise<void> {
    if (message.reason === 'superseded' && message.replayOf) {
      await this.database.query(
        `UPDATE parked_message SET status = 'superseded', status_since = now(), status_reason = $2 WHERE id = $1`,
        [message.replayOf, message.error],
      );
      return;
    }
    await this.database.query(
      `INSERT INTO parked_message (queue, service, message_id, type, routing_key, publisher, reason, error, attempts,
         traceparent, body, body_bytes, replay_of)
       VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13)`,
      [
        message.queue,
        message.service,
        message.messageId,
        message.type,
        message.routingKey,
        message.publisher,
        message.reason,
        message.error,
        message.attempts,
        message.traceparent,
        message.body,
        message.bodyBytes,
        message.replayOf,
      ],
    );
  }

  async countWaiting(): Promise<ReadonlyMap<string, number>> {
    const rows = await this.database.query<{ service: string; count: number }>(
      `SELECT coalesce(service, 'none') AS service, count(*)::int AS count FROM parked_message
       WHERE status = 'parked' GROUP BY 1`,
    );
    return new Map(rows.map(({ service, count }) => [service, count]));
  }

  async list({ status, service, reason, before, limit }: ParkedFilter): Promise<ParkedView[]> {
    return await this.database.query<ParkedView>(
      `SELECT ${columns} FROM parked_message
       WHERE ($1::text IS NULL OR status = $1) AND ($2::text IS NULL OR service = $2)
         AND ($3::text IS NULL OR reason = $3) AND ($4::bigint IS NULL OR id < $4)
       ORDER BY id DESC LIMIT $5`,
      [status ?? null, service ?? null, reason ?? null, before ?? null, limit],
    );
  }

  async get(id: string): Promise<WithBody | undefined> {
    return (await this.database.query<WithBody>(`SELECT ${columns}, body FROM parked_message WHERE id = $1`, [id]))[0];
  }

  async lock(tx: Transaction, id: string): Promise<WithBody | undefined> {
    const sql = `SELECT ${columns}, body FROM parked_message WHERE id = $1 FOR UPDATE`;
    return (await tx.query<WithBody>(sql, [id]))[0];
  }

  async mark(tx: Transaction, id: string, status: ParkedView['status'], reason: string | null): Promise<void> {
    await tx.query('UPDATE parked_message SET status = $2, status_since = now(), status_reason = $3 WHERE id = $1', [
      id,
      status,
      reason,
    ]);
  }
}

@Injectable()
export class BrokerReplay extends ParkedReplay {
  constructor(private readonly messaging: Messaging) {
    super();
  }

  async replay(message: WithBody): Promise<void> {
    await this.messaging.replay(message);
  }
}
