import { Injectable, type OnModuleInit } from '@nestjs/common';
import { Database, type Transaction } from '#persistence/index.js';
import { Cells, DatabaseShards, PlannerSettings, Room, type RoomFigures } from '../application/ports.js';
import type { Cell } from '../domain/placement.js';

const cellColumns = 'id, namespace, state, places, reserved';

@Injectable()
export class CellRepository extends Cells {
  constructor(private readonly database: Database) {
    super();
  }

  async all(tx: Transaction): Promise<Cell[]> {
    return await tx.query<Cell>(`SELECT ${cellColumns} FROM cell ORDER BY made_at`);
  }

  async get(id: string): Promise<Cell | undefined> {
    return (await this.database.query<Cell>(`SELECT ${cellColumns} FROM cell WHERE id = $1`, [id]))[0];
  }

  async add(tx: Transaction, cell: Cell): Promise<void> {
    await tx.query('INSERT INTO cell (id, namespace, state, places) VALUES ($1, $2, $3, $4) ON CONFLICT DO NOTHING', [
      cell.id,
      cell.namespace,
      cell.state,
      cell.places,
    ]);
  }

  async open(tx: Transaction, id: string): Promise<void> {
    await tx.query(`UPDATE cell SET state = 'open' WHERE id = $1 AND state = 'opening'`, [id]);
  }

  async reservePlace(tx: Transaction): Promise<Cell | undefined> {
    return await this.reserve(tx, null, 1);
  }

  async reservePlaceNear(tx: Transaction, id: string, last: boolean): Promise<Cell | undefined> {
    return await this.reserve(tx, id, last ? 1 : 2);
  }

  async reserveSparePlace(tx: Transaction, id: string): Promise<boolean> {
    const rows = await tx.query(
      `UPDATE cell SET reserved = reserved + 1 WHERE id = $1 AND state = 'open' AND reserved + 1 < places RETURNING 1`,
      [id],
    );
    return rows.length > 0;
  }

  async givePlaceBack(tx: Transaction, id: string): Promise<void> {
    await tx.query('UPDATE cell SET reserved = reserved - 1 WHERE id = $1', [id]);
  }

  /** A place of the first cell that has so many. `first`: a cell that comes before the emptiest. */
  private async reserve(tx: Transaction, first: string | null, free: number): Promise<Cell | undefined> {
    // Those who come at the same time wait for each other at the row lock. A row that was filled meanwhile drops out of
    // the answer, so the question is put again until nobody has room.
    while (true) {
      const [found] = await tx.query<{ id: string }>(
        `SELECT id FROM cell WHERE state = 'open' AND places - reserved >= $2
         ORDER BY id IS DISTINCT FROM $1, reserved, id LIMIT 1`,
        [first, free],
      );
      if (!found) return undefined;
      const [cell] = await tx.query<Cell>(
        `UPDATE cell SET reserved = reserved + 1 WHERE id = $1 AND state = 'open' AND places - reserved >= $2
         RETURNING ${cellColumns}`,
        [found.id, free],
      );
      if (cell) return cell;
    }
  }
}

@Injectable()
export class DatabaseShardRepository extends DatabaseShards {
  async all(tx: Transaction): Promise<{ name: string }[]> {
    return await tx.query<{ name: string }>('SELECT name FROM database_shard ORDER BY name');
  }

  async reserveDatabase(tx: Transaction, names: readonly string[]): Promise<string | undefined> {
    while (true) {
      const [found] = await tx.query<{ name: string }>(
        `SELECT name FROM database_shard WHERE name = ANY($1) AND reserved < databases ORDER BY reserved, name LIMIT 1`,
        [names],
      );
      if (!found) return undefined;
      const [shard] = await tx.query<{ name: string }>(
        `UPDATE database_shard SET reserved = reserved + 1 WHERE name = $1 AND reserved < databases RETURNING name`,
        [found.name],
      );
      if (shard) return shard.name;
    }
  }

  async giveDatabaseBack(tx: Transaction, name: string): Promise<void> {
    await tx.query('UPDATE database_shard SET reserved = reserved - 1 WHERE name = $1', [name]);
  }
}

@Injectable()
export class RoomRepository extends Room {
  constructor(private readonly database: Database) {
    super();
  }

  async figures(): Promise<RoomFigures> {
    const [cells, shards, spares, waiting] = await Promise.all([
      this.database.query<RoomFigures['cells'][number]>('SELECT id, state, places, reserved FROM cell ORDER BY id'),
      this.database.query<RoomFigures['shards'][number]>(
        'SELECT name, databases, reserved FROM database_shard ORDER BY name',
      ),
      this.database.query<RoomFigures['spares'][number]>(
        `SELECT state, count(*)::int AS count FROM spare WHERE state <> 'claimed' GROUP BY state`,
      ),
      this.database.query<Pick<RoomFigures, 'waiting' | 'oldestWaiting'>>(
        `SELECT count(*)::int AS waiting,
           coalesce(extract(epoch FROM now() - min(accepted_at)), 0)::float8 AS "oldestWaiting"
         FROM placement WHERE state = 'waiting'`,
      ),
    ]);
    return { cells, shards, spares, ...waiting[0]! };
  }
}

/** The shards are configuration: what is configured at the start holds, what was reserved stays. */
@Injectable()
export class ShardSettings implements OnModuleInit {
  constructor(
    private readonly database: Database,
    private readonly settings: PlannerSettings,
  ) {}

  async onModuleInit(): Promise<void> {
    for (const { name, databases } of this.settings.shards)
      await this.database.query(
        `INSERT INTO database_shard (name, databases) VALUES ($1, $2)
         ON CONFLICT (name) DO UPDATE SET databases = excluded.databases`,
        [name, databases],
      );
  }
}
