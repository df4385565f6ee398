import { Injectable } from '@nestjs/common';
import type { Transaction } from '#persistence/index.js';
import { Spares } from '../application/ports.js';
import type { Spare } from '../domain/spares.js';

const columns = `footprint_id AS "footprintId", cell, database_shard AS "databaseShard",
  template_database AS "templateDatabase", template_made_at AS "templateMadeAt", plan, plan_version AS "planVersion", state`;

@Injectable()
export class SpareRepository extends Spares {
  async free(tx: Transaction): Promise<Spare[]> {
    return await read(tx, `SELECT ${columns} FROM spare WHERE state IN ('asked', 'ready') ORDER BY state, asked_at`);
  }

  async overdue(tx: Transaction, state: 'asked' | 'retiring', ageMs: number): Promise<Spare[]> {
    const since = `asked_at < now() - $2 * interval '1 millisecond'`;
    return await read(tx, `SELECT ${columns} FROM spare WHERE state = $1 AND ${since}`, [state, ageMs]);
  }

  async add(tx: Transaction, spare: Spare): Promise<void> {
    await tx.query(
      `INSERT INTO spare (footprint_id, cell, database_shard, template_database, template_made_at, plan, plan_version,
         state)
       VALUES ($1, $2, $3, $4, $5, $6, $7, $8)`,
      [
        spare.footprintId,
        spare.cell,
        spare.databaseShard,
        spare.templateDatabase,
        spare.templateMadeAt,
        spare.plan,
        spare.planVersion,
        spare.state,
      ],
    );
  }

  async noteReady(tx: Transaction, footprintId: string): Promise<void> {
    await tx.query(`UPDATE spare SET state = 'ready' WHERE footprint_id = $1 AND state = 'asked'`, [footprintId]);
  }

  async claim(tx: Transaction, instanceId: string, wanted: Parameters<Spares['claim']>[2]): Promise<Spare | undefined> {
    // Who comes at the same time takes another one; one that is locked by whoever retires it is nobody's any more.
    const [claimed] = await read(
      tx,
      `UPDATE spare SET state = 'claimed', claimed_by = $1
       WHERE footprint_id = (
         SELECT s.footprint_id FROM spare s
         JOIN template t ON t.database_shard = s.database_shard AND t.database = s.template_database
           AND t.made_at = s.template_made_at
         JOIN cell c ON c.id = s.cell AND c.state = 'open'
         WHERE s.state = 'ready' AND s.plan = $2 AND s.plan_version = $3
           AND s.database_shard || '/' || s.template_database = ANY($4)
         ORDER BY s.asked_at LIMIT 1 FOR UPDATE OF s SKIP LOCKED)
       RETURNING ${columns}`,
      [
        instanceId,
        wanted.plan.name,
        wanted.plan.version,
        wanted.templates.map(({ databaseShard, database }) => `${databaseShard}/${database}`),
      ],
    );
    return claimed;
  }

  async retire(tx: Transaction, footprintId: string): Promise<boolean> {
    const rows = await tx.query(
      `UPDATE spare SET state = 'retiring', asked_at = now() WHERE footprint_id = $1 AND state IN ('asked', 'ready')
       RETURNING 1`,
      [footprintId],
    );
    return rows.length > 0;
  }

  async isRetiring(tx: Transaction, footprintId: string): Promise<boolean> {
    const sql = `SELECT 1 FROM spare WHERE footprint_id = $1 AND state = 'retiring'`;
    return (await tx.query(sql, [footprintId])).length > 0;
  }

  async noteAsked(tx: Transaction, footprintId: string): Promise<void> {
    await tx.query('UPDATE spare SET asked_at = now() WHERE footprint_id = $1', [footprintId]);
  }

  async remove(tx: Transaction, footprintId: string): Promise<Spare | undefined> {
    // A claimed one is its instance's, and ends with it.
    const sql = `DELETE FROM spare WHERE footprint_id = $1 AND state <> 'claimed' RETURNING ${columns}`;
    return (await read(tx, sql, [footprintId]))[0];
  }
}

async function read(tx: Transaction, sql: string, parameters: unknown[] = []): Promise<Spare[]> {
  const rows = await tx.query<Omit<Spare, 'templateMadeAt'> & { templateMadeAt: Date }>(sql, parameters);
  return rows.map((row) => ({ ...row, templateMadeAt: row.templateMadeAt.toISOString() }));
}
