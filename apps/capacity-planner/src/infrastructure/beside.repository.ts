import { Injectable } from '@nestjs/common';
import type { Transaction } from '#persistence/index.js';
import { Besides } from '../application/ports.js';
import type { Beside } from '../domain/beside.js';

/** So long it is remembered of what is gone that its id was used: whoever asks again asks within minutes. */
const rememberedDays = 30;

@Injectable()
export class BesideRepository extends Besides {
  async lock(tx: Transaction, footprintId: string): Promise<Beside | undefined> {
    // The lock also holds where there is no row yet.
    await tx.query(`SELECT pg_advisory_xact_lock(hashtextextended('footprint ' || $1, 0))`, [footprintId]);
    const [found] = await tx.query<Beside>(
      `SELECT footprint_id AS "footprintId", instance_id AS "instanceId", wish, plan, cell,
         database_shard AS "databaseShard", state FROM beside WHERE footprint_id = $1`,
      [footprintId],
    );
    return found;
  }

  async isTaken(tx: Transaction, footprintId: string): Promise<boolean> {
    const [row] = await tx.query<{ taken: boolean }>(
      `SELECT EXISTS (SELECT FROM spare WHERE footprint_id = $1)
         OR EXISTS (SELECT FROM placement WHERE footprint_id = $1) AS taken`,
      [footprintId],
    );
    return row!.taken;
  }

  async save(tx: Transaction, beside: Beside): Promise<void> {
    const { footprintId, instanceId, wish, plan, cell, databaseShard, state } = beside;
    await tx.query(
      `INSERT INTO beside (footprint_id, instance_id, wish, plan, cell, database_shard, state)
       VALUES ($1, $2, $3, $4, $5, $6, $7)
       ON CONFLICT (footprint_id) DO UPDATE SET instance_id = excluded.instance_id, state = excluded.state,
         since = now()`,
      [footprintId, instanceId, wish, plan, cell, databaseShard, state],
    );
  }

  async forgetGone(tx: Transaction): Promise<void> {
    await tx.query(`DELETE FROM beside WHERE state = 'gone' AND since < now() - $1 * interval '1 day'`, [
      rememberedDays,
    ]);
  }
}
