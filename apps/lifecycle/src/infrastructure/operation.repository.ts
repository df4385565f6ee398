import { Injectable } from '@nestjs/common';
import { EntitySchema, In } from 'typeorm';
import { Database, type Transaction } from '#persistence/index.js';
import { Operations } from '../application/ports.js';
import type { Operation } from '../domain/operation.js';

export const OperationEntity = new EntitySchema<Operation>({
  name: 'Operation',
  tableName: 'operation',
  columns: {
    operationId: { name: 'operation_id', type: 'text', primary: true },
    instanceId: { name: 'instance_id', type: 'uuid' },
    kind: { type: 'text' },
    input: { type: 'jsonb' },
    requestedBy: { name: 'requested_by', type: 'text' },
    reason: { type: 'text' },
    acceptedAt: { name: 'accepted_at', type: 'timestamptz' },
    status: { type: 'text' },
    mergedInto: { name: 'merged_into', type: 'text', nullable: true },
    urgent: { type: 'boolean' },
    stage: { type: 'int' },
    startedAt: { name: 'started_at', type: 'timestamptz', nullable: true },
    progress: { type: 'jsonb' },
    condition: { type: 'jsonb', nullable: true },
    spentMs: { name: 'spent_ms', type: 'int' },
    seenAt: { name: 'seen_at', type: 'timestamptz', nullable: true },
    traceparent: { type: 'text', nullable: true },
    correlationId: { name: 'correlation_id', type: 'text' },
  },
});

@Injectable()
export class OperationRepository extends Operations {
  constructor(private readonly database: Database) {
    super();
  }

  async get(tx: Transaction, operationId: string): Promise<Operation | undefined> {
    return (await tx.manager.findOneBy(OperationEntity, { operationId })) ?? undefined;
  }

  async open(tx: Transaction | undefined, instanceId: string): Promise<Operation[]> {
    const manager = tx?.manager ?? this.database.dataSource.manager;
    const found = await manager.find(OperationEntity, {
      where: { instanceId, status: In(['waiting', 'active']) },
      order: { urgent: 'DESC', acceptedAt: 'ASC', operationId: 'ASC' },
    });
    return [...found.filter((one) => one.status === 'active'), ...found.filter((one) => one.status === 'waiting')];
  }

  async forgetEnded(beforeDays: number): Promise<number> {
    const gone = await this.database.query(
      `DELETE FROM operation WHERE operation_id IN (
         SELECT operation_id FROM operation WHERE status = 'ended' AND accepted_at < now() - $1 * interval '1 day' LIMIT 1000)
       RETURNING 1`,
      [beforeDays],
    );
    return gone.length;
  }

  async rehearsalOf(tx: Transaction, restoreId: string): Promise<Operation | undefined> {
    const found = await tx.manager
      .createQueryBuilder(OperationEntity, 'operation')
      .where(`progress->>'restoreId' = :restoreId`, { restoreId })
      .getOne();
    return found ?? undefined;
  }

  async mergedInto(tx: Transaction, operationId: string): Promise<Operation[]> {
    return await tx.manager.find(OperationEntity, {
      where: { mergedInto: operationId, status: 'merged' },
      order: { acceptedAt: 'ASC', operationId: 'ASC' },
    });
  }

  async save(tx: Transaction, operation: Operation): Promise<void> {
    await tx.manager.upsert(OperationEntity, operation, ['operationId']);
  }

  async isLatest(tx: Transaction, instanceId: string, requestedBy: string, at: Date): Promise<boolean> {
    const noted = await tx.query(
      `INSERT INTO requester AS r (instance_id, requested_by, last_at) VALUES ($1, $2, $3)
       ON CONFLICT (instance_id, requested_by) DO UPDATE SET last_at = excluded.last_at
         WHERE r.last_at <= excluded.last_at
       RETURNING 1`,
      [instanceId, requestedBy, at],
    );
    return noted.length > 0;
  }
}
