import { Injectable } from '@nestjs/common';
import { Database, type Transaction } from '#persistence/index.js';
import { type EventFilter, type Recorded, Timeline, type TimelineEvent } from '../application/ports.js';
import type { OperationFact } from '../domain/operation.js';
import type { TimelineEntry } from '../domain/timeline.js';

const columns = `id::text, fact, at, who, summary, reason, fault, operation_id AS "operationId", trace_id AS "traceId"`;

@Injectable()
export class TimelineRepository extends Timeline {
  constructor(private readonly database: Database) {
    super();
  }

  async record(tx: Transaction, fact: Recorded): Promise<void> {
    await tx.queryPrepared(
      `INSERT INTO timeline (instance_id, fact, at, sequence, who, summary, reason, fault, operation_id, trace_id,
         message_id, ends)
       VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12) ON CONFLICT (who, message_id) DO NOTHING`,
      [
        fact.instanceId,
        fact.fact,
        fact.at,
        fact.sequence,
        fact.who,
        fact.summary,
        fact.reason,
        fact.fault,
        fact.operationId,
        fact.traceId,
        fact.messageId,
        fact.ends,
      ],
    );
  }

  async of(
    instanceId: string,
    { after, limit }: { readonly after?: string | undefined; readonly limit: number },
  ): Promise<TimelineEntry[]> {
    return await this.database.query<TimelineEntry>(
      `SELECT ${columns} FROM timeline WHERE instance_id = $1
         AND ($2::bigint IS NULL OR (at, sequence, id) > (SELECT at, sequence, id FROM timeline WHERE id = $2))
       ORDER BY at, sequence, id LIMIT $3`,
      [instanceId, after ?? null, limit],
    );
  }

  async ofOperation(operationId: string): Promise<(TimelineEntry & OperationFact & { readonly instanceId: string })[]> {
    return await this.database.query(
      `SELECT ${columns}, ends, instance_id AS "instanceId" FROM timeline WHERE operation_id = $1 OR ends = $1
       ORDER BY at, sequence, id`,
      [operationId],
    );
  }

  async putInOrder(): Promise<string> {
    const [{ open, last } = { open: false, last: '0' }] = await this.database.query<{ open: boolean; last: string }>(
      `SELECT EXISTS (SELECT FROM timeline WHERE position IS NULL) AS open,
         coalesce((SELECT max(position) FROM timeline), 0)::text AS last`,
    );
    return open ? await this.database.transaction(extendOrder) : last;
  }

  async events(after: string, upTo: string, filter: EventFilter, limit: number): Promise<TimelineEvent[]> {
    return await this.database.query<TimelineEvent>(
      `SELECT t.position::text AS id, t.instance_id AS "instanceId", v.customer_id AS "customerId", t.fact, t.at, t.who,
         t.summary, t.reason, t.fault, t.operation_id AS "operationId", t.trace_id AS "traceId"
       FROM timeline t LEFT JOIN instance_view v USING (instance_id)
       WHERE t.position > $1 AND t.position <= $2 AND ($3::uuid IS NULL OR t.instance_id = $3)
         AND ($4::text IS NULL OR v.customer_id = $4)
       ORDER BY t.position LIMIT $5`,
      [after, upTo, filter.instanceId ?? null, filter.customerId ?? null, limit],
    );
  }
}

/**
 * One writer at a time, so that places become visible in their own order; a number from a sequence would not: what takes
 * the lower one may commit later, and a reader who went by would never see it.
 */
async function extendOrder(tx: Transaction): Promise<string> {
  const [{ mine } = { mine: false }] = await tx.query<{ mine: boolean }>(
    `SELECT pg_try_advisory_xact_lock(hashtext('order of events')) AS mine`,
  );
  if (mine)
    await tx.query(
      `UPDATE timeline SET position = placed.position FROM (
         SELECT id, (SELECT coalesce(max(position), 0) FROM timeline) + row_number() OVER (ORDER BY at, sequence, id)
           AS position
         FROM timeline WHERE position IS NULL ORDER BY at, sequence, id LIMIT 1000) placed
       WHERE timeline.id = placed.id`,
    );
  const [{ last } = { last: '0' }] = await tx.query<{ last: string }>(
    'SELECT coalesce(max(position), 0)::text AS last FROM timeline',
  );
  return last;
}
