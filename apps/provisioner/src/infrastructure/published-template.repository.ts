import { Injectable } from '@nestjs/common';
import type { Transaction } from '#persistence/index.js';
import { PublishedTemplates, type Template } from '../application/ports.js';

@Injectable()
export class PublishedTemplateRepository extends PublishedTemplates {
  async note(tx: Transaction, databaseShard: string, { database, madeAt }: Template): Promise<boolean> {
    const noted = await tx.query(
      `INSERT INTO published_template AS p (database_shard, database, made_at) VALUES ($1, $2, $3)
       ON CONFLICT (database_shard, database) DO UPDATE SET made_at = excluded.made_at
         WHERE p.made_at <> excluded.made_at
       RETURNING 1`,
      [databaseShard, database, madeAt],
    );
    return noted.length > 0;
  }
}
