import { Injectable } from '@nestjs/common';
import type { PayloadOf, TemplatePublished } from '#contracts/index.js';
import type { Transaction } from '#persistence/index.js';
import { Templates } from '../application/ports.js';
import type { Template } from '../domain/template-choice.js';

@Injectable()
export class TemplateRepository extends Templates {
  async all(tx: Transaction): Promise<Template[]> {
    const rows = await tx.query<Omit<Template, 'madeAt'> & { madeAt: Date }>(
      `SELECT image, version, bundle, language, database_shard AS "databaseShard", database, made_at AS "madeAt"
       FROM template ORDER BY image`,
    );
    return rows.map((row) => ({ ...row, madeAt: row.madeAt.toISOString() }));
  }

  async complete(tx: Transaction): Promise<boolean> {
    const [row] = await tx.query<{ complete: boolean }>(
      'SELECT (SELECT count(*) FROM template) >= (SELECT size FROM catalogue) AS complete',
    );
    return row!.complete === true;
  }

  async add(
    tx: Transaction,
    { template, databaseShard, catalogue, madeAt }: PayloadOf<typeof TemplatePublished>,
    toldAt: string,
  ): Promise<void> {
    await tx.query(
      `INSERT INTO catalogue AS c (size, told_at) VALUES ($1, $2)
       ON CONFLICT (one) DO UPDATE SET size = excluded.size, told_at = excluded.told_at
         WHERE c.told_at <= excluded.told_at`,
      [catalogue, toldAt],
    );
    await tx.query(
      `INSERT INTO template (image, version, bundle, language, database_shard, database, made_at)
       VALUES ($1, $2, $3, $4, $5, $6, $7)
       ON CONFLICT (image, bundle, language, database_shard)
       DO UPDATE SET version = excluded.version, database = excluded.database, made_at = excluded.made_at`,
      [template.image, template.version, template.bundle, template.language, databaseShard, template.database, madeAt],
    );
  }
}
