import { Injectable } from '@nestjs/common';
import { Database, type Transaction } from '#persistence/index.js';
import { Footprints } from '../application/ports.js';
import type { ReadyFootprint } from '../domain/switching.js';

@Injectable()
export class FootprintRepository extends Footprints {
  constructor(private readonly database: Database) {
    super();
  }

  async get(tx: Transaction, footprintId: string): Promise<ReadyFootprint | undefined> {
    const [found] = await tx.query<{ ready: ReadyFootprint['ready'] | null; removed: boolean }>(
      'SELECT ready, removed_at IS NOT NULL AS removed FROM footprint WHERE footprint_id = $1',
      [footprintId],
    );
    // Heard of its removal first, and of nothing else: nobody has told of one that is Ready.
    return found?.ready ? { ready: found.ready, removed: found.removed } : undefined;
  }

  async noteReady(tx: Transaction, ready: ReadyFootprint['ready']): Promise<void> {
    await tx.query(
      `INSERT INTO footprint (footprint_id, ready) VALUES ($1, $2)
       ON CONFLICT (footprint_id) DO UPDATE SET ready = excluded.ready`,
      [ready.footprintId, JSON.stringify(ready)],
    );
  }

  async noteRemoved(tx: Transaction, footprintId: string): Promise<void> {
    await tx.query(
      `INSERT INTO footprint AS f (footprint_id, removed_at) VALUES ($1, now())
       ON CONFLICT (footprint_id) DO UPDATE SET removed_at = coalesce(f.removed_at, now())`,
      [footprintId],
    );
  }

  async forgetRemoved(beforeDays: number): Promise<number> {
    const gone = await this.database.query(
      `DELETE FROM footprint WHERE removed_at < now() - $1 * interval '1 day' RETURNING 1`,
      [beforeDays],
    );
    return gone.length;
  }
}
