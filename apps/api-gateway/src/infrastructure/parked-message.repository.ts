import { Injectable } from '@nestjs/common';
import type { ParkedMessage } from '#messaging/index.js';
import { Database } from '#persistence/index.js';
import { ParkedMessages } from '../application/ports.js';

@Injectable()
export class ParkedMessageRepository extends ParkedMessages {
  constructor(private readonly database: Database) {
    super();
  }

  async add(message: ParkedMessage): Promise<void> {
    await this.database.query(
      `INSERT INTO parked_message (queue, service, message_id, type, routing_key, publisher, reason, error, attempts,
         traceparent, body, body_bytes)
       VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)`,
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
      ],
    );
  }
}
