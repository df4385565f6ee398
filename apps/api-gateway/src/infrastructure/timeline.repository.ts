import { Injectable } from '@nestjs/common';
import { Database, type Transaction } from '#persistence/index.js';
import { type Recorded, Timeline } from '../application/ports.js';
import type { TimelineEntry } from '../domain/timeline.js';

const columns = `id::text, fact, at, who, summary, reason, fault, operation_id AS "operationId", trace_id AS "traceId"`;

@Injectable()
export class TimelineRepository extends Timeline {
  constructor(private readonly database: Database) {
    super();
  }

  async record(tx: Transaction, fact: Recorded): Promise<void> {
    await tx.queryPrepared(
      `INSERT INTO timeline (instance_id, fact, at, sequence, who, summary, reason, fault, operation_id, trace_id)
       VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)`,
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

  async ofOperation(operationId: string): Promise<(TimelineEntry & { readonly instanceId: string })[]> {
    return await this.database.query(
      `SELECT ${columns}, instance_id AS "instanceId" FROM timeline WHERE operation_id = $1 ORDER BY at, sequence, id`,
      [operationId],
    );
  }
}
