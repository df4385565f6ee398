import { Injectable } from '@nestjs/common';
import { Database, type Transaction } from '#persistence/index.js';
import { Cells } from '../application/ports.js';
import type { Cell } from '../domain/cell.js';

@Injectable()
export class CellRepository extends Cells {
  constructor(private readonly database: Database) {
    super();
  }

  async all(): Promise<Cell[]> {
    return await this.database.query<Cell>(
      `SELECT cell, namespace, open, places, reserved, greatest(0, places - reserved) AS free, shards,
         updated_at AS "updatedAt"
       FROM cell ORDER BY cell`,
    );
  }

  async put(tx: Transaction, cell: Omit<Cell, 'free' | 'updatedAt'>): Promise<void> {
    await tx.query(
      `INSERT INTO cell (cell, namespace, open, places, reserved, shards) VALUES ($1, $2, $3, $4, $5, $6)
       ON CONFLICT (cell) DO UPDATE SET namespace = excluded.namespace, open = excluded.open, places = excluded.places,
         reserved = excluded.reserved, shards = excluded.shards, updated_at = now()`,
      [cell.cell, cell.namespace, cell.open, cell.places, cell.reserved, JSON.stringify(cell.shards)],
    );
  }
}
