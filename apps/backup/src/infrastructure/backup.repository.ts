import { Injectable } from '@nestjs/common';
import { EntitySchema, In } from 'typeorm';
import { Database, type Transaction } from '#persistence/index.js';
import { Backups } from '../application/ports.js';
import type { Backup } from '../domain/backup.js';

export const BackupEntity = new EntitySchema<Backup>({
  name: 'Backup',
  tableName: 'backup',
  columns: {
    backupId: { name: 'backup_id', type: 'uuid', primary: true },
    instanceId: { name: 'instance_id', type: 'uuid' },
    customerId: { name: 'customer_id', type: 'text' },
    footprintId: { name: 'footprint_id', type: 'uuid' },
    why: { type: 'text' },
    token: { type: 'text', nullable: true },
    state: { type: 'text' },
    source: { type: 'jsonb' },
    dumped: { type: 'jsonb', nullable: true },
    saved: { type: 'jsonb', nullable: true },
    manifest: { type: 'text', nullable: true },
    verified: { type: 'jsonb', nullable: true },
    fault: { type: 'jsonb', nullable: true },
    held: { type: 'text', nullable: true },
    requestedAt: { name: 'requested_at', type: 'timestamptz' },
    takenAt: { name: 'taken_at', type: 'timestamptz', nullable: true },
    expiresAt: { name: 'expires_at', type: 'timestamptz', nullable: true },
    condition: { type: 'jsonb', nullable: true },
    spentMs: { name: 'spent_ms', type: 'int' },
    seenAt: { name: 'seen_at', type: 'timestamptz', nullable: true },
    traceparent: { type: 'text', nullable: true },
    correlationId: { name: 'correlation_id', type: 'text' },
    requestId: { name: 'request_id', type: 'text', nullable: true },
  },
});

/** Until the transaction ends nobody else begins a backup, or to look through contents. */
export const oneAtATime = `SELECT pg_advisory_xact_lock(hashtext('backup: places at once'))`;

@Injectable()
export class BackupRepository extends Backups {
  constructor(private readonly database: Database) {
    super();
  }

  async get(backupId: string): Promise<Backup | undefined> {
    return (await this.database.dataSource.manager.findOneBy(BackupEntity, { backupId })) ?? undefined;
  }

  async lock(tx: Transaction, backupId: string): Promise<Backup | undefined> {
    const found = await tx.manager.findOne(BackupEntity, { where: { backupId }, lock: { mode: 'pessimistic_write' } });
    return found ?? undefined;
  }

  async save(tx: Transaction, backup: Backup): Promise<void> {
    await tx.manager.upsert(BackupEntity, backup, ['backupId']);
  }

  async hasRoom(
    tx: Transaction,
    { source, instanceId }: Backup,
    most: { readonly perCell: number; readonly perShard: number },
  ): Promise<boolean> {
    await tx.query(oneAtATime);
    const [row] = await tx.query<{ onShard: number; inCell: number; swept: boolean }>(
      `SELECT EXISTS (SELECT 1 FROM sweep WHERE instance_id = $3) AS swept,
         count(*) FILTER (WHERE source->>'databaseShard' = $1 AND state = 'dumping')::int AS "onShard",
         count(*) FILTER (WHERE source->>'cell' = $2)::int AS "inCell"
       FROM backup WHERE state IN ('dumping', 'saving')`,
      [source.databaseShard, source.cell, instanceId],
    );
    return !row!.swept && row!.onShard < most.perShard && row!.inCell < most.perCell;
  }

  async nextWaiting(
    databaseShard: string,
    most: { readonly perCell: number; readonly perShard: number },
  ): Promise<string[]> {
    const rows = await this.database.query<{ backupId: string }>(
      `WITH under_way AS MATERIALIZED (
         SELECT source->>'databaseShard' AS shard, source->>'cell' AS cell, state FROM backup
         WHERE state IN ('dumping', 'saving')
       ), full_cells AS MATERIALIZED (SELECT cell FROM under_way GROUP BY cell HAVING count(*) >= $3)
       SELECT backup_id AS "backupId" FROM backup
       WHERE state = 'waiting' AND source->>'databaseShard' = $1
         AND coalesce(condition->>'reason', 'NoPlace') = 'NoPlace'
         AND NOT EXISTS (SELECT 1 FROM full_cells WHERE full_cells.cell = source->>'cell')
       ORDER BY why = 'scheduled', requested_at
       LIMIT greatest(0, $2 - (SELECT count(*) FROM under_way WHERE shard = $1 AND state = 'dumping'))`,
      [databaseShard, most.perShard, most.perCell],
    );
    return rows.map(({ backupId }) => backupId);
  }

  async withContentsLocked(instanceId: string, until: Date): Promise<Backup | undefined> {
    const found = await this.database.dataSource.manager
      .createQueryBuilder(BackupEntity, 'b')
      .where(`b.instanceId = :instanceId AND b.state = 'completed' AND b.fault IS NULL`, { instanceId })
      .andWhere(`(b.saved->'locked'->>'until')::timestamptz >= :until`, { until })
      .orderBy('b.takenAt', 'DESC')
      .limit(1)
      .getOne();
    return found ?? undefined;
  }

  async byHand(tx: Transaction, instanceId: string): Promise<Backup[]> {
    const state = In(['waiting', 'dumping', 'saving', 'completed']);
    return await tx.manager.findBy(BackupEntity, { instanceId, why: 'manual', state });
  }

  async lockThatMayHeal(tx: Transaction, instanceId: string): Promise<Backup[]> {
    return await tx.manager
      .createQueryBuilder(BackupEntity, 'b')
      .where(`b.instanceId = :instanceId AND b.state = 'completed' AND b.fault->>'mayHeal' = 'true'`, { instanceId })
      .orderBy('b.backupId')
      .setLock('pessimistic_write')
      .getMany();
  }

  async openOf(tx: Transaction, instanceId: string): Promise<Backup[]> {
    return await tx.manager.find(BackupEntity, {
      where: { instanceId, state: In(['waiting', 'dumping', 'saving']) },
      order: { requestedAt: 'ASC' },
    });
  }
}
