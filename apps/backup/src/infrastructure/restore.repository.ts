import { Injectable } from '@nestjs/common';
import { EntitySchema, Not } from 'typeorm';
import { Database, type Transaction } from '#persistence/index.js';
import { Restores } from '../application/ports.js';
import type { Restore } from '../domain/restore.js';

export const RestoreEntity = new EntitySchema<Restore>({
  name: 'Restore',
  tableName: 'restore',
  columns: {
    restoreId: { name: 'restore_id', type: 'uuid', primary: true },
    instanceId: { name: 'instance_id', type: 'uuid' },
    backupId: { name: 'backup_id', type: 'uuid' },
    mode: { type: 'text' },
    to: { type: 'jsonb', nullable: true },
    requestedBy: { name: 'requested_by', type: 'text' },
    reason: { type: 'text' },
    status: { type: 'text' },
    stage: { type: 'int' },
    footprintId: { name: 'footprint_id', type: 'uuid' },
    progress: { type: 'jsonb' },
    startedAt: { name: 'started_at', type: 'timestamptz' },
    condition: { type: 'jsonb', nullable: true },
    spentMs: { name: 'spent_ms', type: 'int' },
    seenAt: { name: 'seen_at', type: 'timestamptz', nullable: true },
    traceparent: { type: 'text', nullable: true },
    correlationId: { name: 'correlation_id', type: 'text' },
    requestId: { name: 'request_id', type: 'text', nullable: true },
  },
});

/** Until the transaction ends no other proof takes a place. */
const oneProofAtATime = `SELECT pg_advisory_xact_lock(hashtext('backup: proofs at once'))`;
/** From the question for its footprint on; one that is refused gives its place back. */
const hasPlace = `r.progress ? 'footprintAsked' OR r.stage > 0`;
const proofsUnderWay = `SELECT count(*) FROM restore r JOIN backup b USING (backup_id)
  WHERE r.mode = 'proof' AND r.status <> 'ended' AND (${hasPlace}) AND b.source->>'databaseShard' = $1`;

@Injectable()
export class RestoreRepository extends Restores {
  constructor(private readonly database: Database) {
    super();
  }

  async get(restoreId: string): Promise<Restore | undefined> {
    return (await this.database.dataSource.manager.findOneBy(RestoreEntity, { restoreId })) ?? undefined;
  }

  async lock(tx: Transaction, restoreId: string): Promise<Restore | undefined> {
    const found = await tx.manager.findOne(RestoreEntity, {
      where: { restoreId },
      lock: { mode: 'pessimistic_write' },
    });
    return found ?? undefined;
  }

  async save(tx: Transaction, restore: Restore): Promise<void> {
    await tx.manager.upsert(RestoreEntity, restore, ['restoreId']);
  }

  async hasRoomForProof(tx: Transaction, databaseShard: string, most: number): Promise<boolean> {
    await tx.query(oneProofAtATime);
    const [row] = await tx.query<{ count: number }>(`SELECT (${proofsUnderWay})::int AS count`, [databaseShard]);
    return row!.count < most;
  }

  async nextProofs(databaseShard: string, most: number): Promise<string[]> {
    const rows = await this.database.query<{ restoreId: string }>(
      `SELECT r.restore_id AS "restoreId" FROM restore r JOIN backup b USING (backup_id)
       WHERE r.mode = 'proof' AND r.status = 'active' AND NOT (${hasPlace}) AND b.source->>'databaseShard' = $1
         AND r.started_at <= now() AND coalesce(r.condition->>'reason', 'NoPlace') = 'NoPlace'
       ORDER BY b.why NOT IN ('final', 'pre-upgrade'), r.started_at
       LIMIT greatest(0, $2 - (${proofsUnderWay}))`,
      [databaseShard, most],
    );
    return rows.map(({ restoreId }) => restoreId);
  }

  async lockOpenOf(tx: Transaction, instanceId: string): Promise<Restore[]> {
    return await tx.manager.find(RestoreEntity, {
      where: { instanceId, status: Not('ended') },
      order: { restoreId: 'ASC' },
      lock: { mode: 'pessimistic_write' },
    });
  }

  async lockOfFootprint(tx: Transaction, footprintId: string): Promise<Restore | undefined> {
    const found = await tx.manager.findOne(RestoreEntity, {
      where: { footprintId },
      lock: { mode: 'pessimistic_write' },
    });
    return found ?? undefined;
  }

  async lockCloneFor(tx: Transaction, instanceId: string, correlationId: string): Promise<Restore | undefined> {
    const [row] = await tx.query<{ restoreId: string }>(
      `SELECT restore_id AS "restoreId" FROM restore
       WHERE mode = 'clone' AND status = 'ended' AND "to"->>'instanceId' = $1 AND correlation_id = $2`,
      [instanceId, correlationId],
    );
    return row && (await this.lock(tx, row.restoreId));
  }

  async lockWaitingFor(tx: Transaction, safetyBackupId: string): Promise<Restore[]> {
    const rows = await tx.query<{ restoreId: string }>(
      `SELECT restore_id AS "restoreId" FROM restore WHERE status <> 'ended' AND progress->>'safetyBackupId' = $1
       ORDER BY restore_id`,
      [safetyBackupId],
    );
    const found = await Promise.all(rows.map(({ restoreId }) => this.lock(tx, restoreId)));
    return found.filter((one) => one !== undefined);
  }
}
