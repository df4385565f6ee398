import { createHash } from 'node:crypto';
import { TenantDatabaseError } from './errors.js';
import { checkTenantName, quoteName, quoteText } from './identifiers.js';
import { scramVerifier } from './scram.js';
import type { Session, Shard } from './shard.js';
import { giveEverythingTo } from './tenant.js';

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

/** Whether there is this very template, of the same content, finished. */
export async function isPublished(shard: Shard, database: string, content: string): Promise<boolean> {
  const [row] = await shard.query<{ frozen: boolean; comment: string | null }>(
    `SELECT datistemplate AS frozen, shobj_description(oid, 'pg_database') AS comment FROM pg_database WHERE datname = $1`,
    [database],
  );
  return row?.frozen === true && readTemplateMark(row.comment)?.content === content;
}

/**
 * An empty database with a role of its own, both of this name, for an Odoo that installs itself into it. What was there of
 * an earlier try, or of an older template, is dropped first. Throws FOREIGN_OBJECT for what is not this mesh's.
 */
export async function beginTemplate(shard: Shard, database: string, password: string): Promise<void> {
  const name = quoteName(checkTenantName(database));
  const mark = quoteText(JSON.stringify({ mesh: shard.meshName, template: true }));
  await shard.exclusively(database, async (session) => {
    const { rows } = await session.query<{ comment: string | null }>(
      `SELECT shobj_description(oid, 'pg_database') AS comment FROM pg_database WHERE datname = $1
       UNION ALL SELECT shobj_description(oid, 'pg_authid') FROM pg_roles WHERE rolname = $1`,
      [database],
    );
    for (const { comment } of rows)
      if (readTemplateMark(comment)?.mesh !== shard.meshName)
        throw new TenantDatabaseError('FOREIGN_OBJECT', `${database} is there and is no template of this mesh`, false);
    await dropTemplate(session, database);
    await session.query('BEGIN');
    await session.query(`CREATE ROLE ${name} LOGIN PASSWORD ${quoteText(scramVerifier(password))}`);
    await session.query(`COMMENT ON ROLE ${name} IS ${mark}`);
    await session.query(`GRANT ${quoteName(shard.tenantGroup)} TO ${name}`);
    await session.query('COMMIT');
    await session.query(`CREATE DATABASE ${name} TEMPLATE template0 ENCODING 'UTF8'`);
    await session.query(`COMMENT ON DATABASE ${name} IS ${mark}`);
    await session.query(`REVOKE ALL ON DATABASE ${name} FROM PUBLIC`);
    await session.query(`GRANT CONNECT, TEMPORARY, CREATE ON DATABASE ${name} TO ${name}`);
    await shard.inside(database, (client) => giveEverythingTo(client, database, shard.readerGroup));
  });
}

/** What `beginTemplate` began, and an Odoo filled: from now on nobody connects to it, and instances are made of it. */
export async function finishTemplate(shard: Shard, template: Omit<Template, 'madeAt'>, content: string): Promise<void> {
  const { database, image, version, bundle, language } = template;
  const name = quoteName(checkTenantName(database));
  await shard.exclusively(database, async (session) => {
    await session.query(`GRANT ${name} TO CURRENT_USER`);
    await shard.inside(database, async (client) => {
      const { rows } = await client.query<{ role: string }>('SELECT current_user AS role');
      await giveEverythingTo(client, rows[0]!.role, shard.readerGroup);
      // What is left of its role: rights, and nothing that is anybody's.
      await client.query(`DROP OWNED BY ${name}`);
    });
    await session.query(`SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = $1`, [database]);
    await session.query(`DROP ROLE ${name}`);
    const madeAt = new Date().toISOString();
    const mark: TemplateMark = {
      mesh: shard.meshName,
      template: true,
      content,
      image,
      version,
      bundle,
      language,
      madeAt,
    };
    await session.query(`COMMENT ON DATABASE ${name} IS ${quoteText(JSON.stringify(mark))}`);
    await session.query(`ALTER DATABASE ${name} WITH IS_TEMPLATE true ALLOW_CONNECTIONS false`);
  });
}

async function dropTemplate(session: Session, database: string): Promise<void> {
  const name = quoteName(database);
  const there = async (catalogue: string, column: string) =>
    (await session.query(`SELECT 1 FROM ${catalogue} WHERE ${column} = $1`, [database])).rows.length > 0;
  if (await there('pg_database', 'datname')) {
    await session.query(`ALTER DATABASE ${name} IS_TEMPLATE false`);
    await session.query(`DROP DATABASE ${name} WITH (FORCE)`);
  }
  if (await there('pg_roles', 'rolname')) await session.query(`DROP ROLE ${name}`);
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
