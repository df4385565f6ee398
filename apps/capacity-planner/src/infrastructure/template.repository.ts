import { Injectable } from '@nestjs/common';
import type { PayloadOf, TemplatePublished } from '#contracts/index.js';
import type { Transaction } from '#persistence/index.js';
import { Templates } from '../application/ports.js';
import type { Template } from '../domain/template-choice.js';

@Injectable()
export class TemplateRepository extends Templates {
  async all(tx: Transaction): Promise<Template[]> {
    return await tx.query<Template>(
      'SELECT image, version, bundle, language, database_shard AS "databaseShard", database FROM template ORDER BY image',
    );
  }

  async add(tx: Transaction, { template, databaseShard }: PayloadOf<typeof TemplatePublished>): Promise<void> {
    await tx.query(
      `INSERT INTO template (image, version, bundle, language, database_shard, database)
       VALUES ($1, $2, $3, $4, $5, $6)
       ON CONFLICT (image, bundle, language, database_shard)
       DO UPDATE SET version = excluded.version, database = excluded.database`,
      [template.image, template.version, template.bundle, template.language, databaseShard, template.database],
    );
  }
}
