import { createHash } from 'node:crypto';
import { checkTenantName, quoteName, quoteText } from './identifiers.js';
import type { Shard } from './shard.js';

/** A frozen database from which tenants are copied. */
export interface Template {
  readonly database: string;
  /** The image whose code and files belong to it. */
  readonly image: string;
  readonly version: string;
  readonly bundle: string;
  readonly language: string;
  /** RFC 3339. */
  readonly madeAt: string;
}

interface TemplateMark extends Omit<Template, 'database'> {
  readonly mesh: string;
  readonly template: true;
  readonly content: string;
}

/**
 * Makes a template from SQL, unless it is there with the same content. One that was half made is made anew. Frozen at
 * the end: nobody connects to it, and nobody but its owner copies it.
 */
export async function publishTemplate(shard: Shard, template: Omit<Template, 'madeAt'>, sql: string): Promise<void> {
  const database = quoteName(checkTenantName(template.database));
  // Files and code are the image's: another image makes another template of the same tables.
  const content = createHash('sha256').update(`${template.image}\n${sql}`).digest('hex');
  await shard.exclusively(template.database, async (session) => {
    const { rows } = await session.query(
      `SELECT datistemplate AS frozen, shobj_description(oid, 'pg_database') AS comment FROM pg_database WHERE datname = $1`,
      [template.database],
    );
    if (rows[0]?.frozen && readTemplateMark(rows[0].comment)?.content === content) return;
    if (rows[0]) {
      await session.query(`ALTER DATABASE ${database} IS_TEMPLATE false`);
      await session.query(`DROP DATABASE ${database} WITH (FORCE)`);
    }
    await session.query(`CREATE DATABASE ${database} TEMPLATE template0 ENCODING 'UTF8'`);
    await session.query(`REVOKE ALL ON DATABASE ${database} FROM PUBLIC`);
    await shard.inside(template.database, (client) => client.query(sql));
    const { image, version, bundle, language } = template;
    const mark: TemplateMark = {
      mesh: shard.meshName,
      template: true,
      content,
      image,
      version,
      bundle,
      language,
      madeAt: new Date().toISOString(),
    };
    await session.query(`COMMENT ON DATABASE ${database} IS ${quoteText(JSON.stringify(mark))}`);
    await session.query(`ALTER DATABASE ${database} WITH IS_TEMPLATE true ALLOW_CONNECTIONS false`);
  });
}

/** All finished templates of this mesh on the shard. */
export async function listTemplates(shard: Shard): Promise<Template[]> {
  const rows = await shard.query<{ database: string; comment: string | null }>(
    `SELECT datname AS database, shobj_description(oid, 'pg_database') AS comment
     FROM pg_database WHERE datistemplate AND NOT datallowconn ORDER BY datname`,
  );
  return rows.flatMap(({ database, comment }) => {
    const mark = readTemplateMark(comment);
    if (mark?.mesh !== shard.meshName) return [];
    const { image, version, bundle, language, madeAt } = mark;
    return [{ database, image, version, bundle, language, madeAt }];
  });
}

function readTemplateMark(comment: string | null): TemplateMark | undefined {
  try {
    const mark = JSON.parse(comment ?? '');
    return mark?.template === true ? mark : undefined;
  } catch {
    return undefined;
  }
}
