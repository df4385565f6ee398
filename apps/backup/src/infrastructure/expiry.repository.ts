import { Injectable } from '@nestjs/common';
import { Database, type Transaction } from '#persistence/index.js';
import { Expiries, type HeldContents } from '../application/ports.js';
import type { Backup } from '../domain/backup.js';
import { BackupEntity, oneAtATime } from './backup.repository.js';

@Injectable()
export class ExpiryRepository extends Expiries {
  constructor(private readonly database: Database) {
    super();
  }

  async instances(after: string | undefined, limit: number): Promise<string[]> {
    const rows = await this.database.query<{ instanceId: string }>(
      `SELECT DISTINCT instance_id AS "instanceId" FROM backup
       WHERE state = 'completed' AND ($1::uuid IS NULL OR instance_id > $1) ORDER BY instance_id LIMIT $2`,
      [after ?? null, limit],
    );
    return rows.map(({ instanceId }) => instanceId);
  }

  async lockCompleted(tx: Transaction, instanceId: string): Promise<Backup[]> {
    return await tx.manager.find(BackupEntity, {
      where: { instanceId, state: 'completed' },
      order: { backupId: 'ASC' },
      lock: { mode: 'pessimistic_write' },
    });
  }

  async expiring(instanceId: string): Promise<Backup[]> {
    return await this.database.dataSource.manager.findBy(BackupEntity, { instanceId, state: 'expiring' });
  }

  async damaged(instanceId: string): Promise<Backup[]> {
    return await this.database.dataSource.manager
      .createQueryBuilder(BackupEntity, 'b')
      .where(`b.instanceId = :instanceId AND b.state IN ('completed', 'expiring')`, { instanceId })
      .andWhere(`b.fault->'damaged' IS NOT NULL`)
      .getMany();
  }

  async indexes(instanceId: string): Promise<string[]> {
    const rows = await this.database.query<{ index: string }>(
      `SELECT saved->>'index' AS index FROM backup
       WHERE instance_id = $1 AND state = 'completed' AND saved->>'index' IS NOT NULL`,
      [instanceId],
    );
    return rows.map(({ index }) => index);
  }

  async beginSweep(tx: Transaction, instanceId: string): Promise<boolean> {
    await tx.query(oneAtATime);
    const rows = await tx.query(
      `INSERT INTO sweep (instance_id, begun_at)
       SELECT $1, now() WHERE NOT EXISTS
         (SELECT 1 FROM backup WHERE instance_id = $1 AND state IN ('dumping', 'saving'))
       ON CONFLICT (instance_id) DO UPDATE SET begun_at = now() RETURNING 1`,
      [instanceId],
    );
    return rows.length > 0;
  }

  async endSweep(tx: Transaction, instanceId: string): Promise<void> {
    await tx.query('DELETE FROM sweep WHERE instance_id = $1', [instanceId]);
  }

  async heldContents(instanceId: string): Promise<HeldContents | undefined> {
    const [held] = await this.database.query<HeldContents>(
      'SELECT customer_id AS "customerId", sweep_at AS "sweepAt" FROM held_contents WHERE instance_id = $1',
      [instanceId],
    );
    return held;
  }

  async noteHeldContents(tx: Transaction, instanceId: string, held: HeldContents | undefined): Promise<void> {
    if (held)
      await tx.query(
        `INSERT INTO held_contents (instance_id, customer_id, sweep_at) VALUES ($1, $2, $3)
         ON CONFLICT (instance_id) DO UPDATE SET sweep_at = excluded.sweep_at`,
        [instanceId, held.customerId, held.sweepAt],
      );
    else await tx.query('DELETE FROM held_contents WHERE instance_id = $1', [instanceId]);
  }

  async forget(olderThanDays: number): Promise<number> {
    const rows = await this.database.query(
      `DELETE FROM backup WHERE backup_id IN (
         SELECT backup_id FROM backup
         WHERE (state = 'expired' AND expires_at < now() - $1 * interval '1 day')
           OR (state = 'failed' AND requested_at < now() - $1 * interval '1 day')
         LIMIT 5000)
       RETURNING 1`,
      [olderThanDays],
    );
    await this.database.query(
      `DELETE FROM restore WHERE restore_id IN (
         SELECT restore_id FROM restore
         WHERE status = 'ended' AND started_at < now() - $1 * interval '1 day' LIMIT 5000)`,
      [olderThanDays],
    );
    return rows.length;
  }
}
