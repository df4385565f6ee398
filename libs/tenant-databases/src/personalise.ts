import { randomBytes, randomUUID } from 'node:crypto';
import { clearCaches } from './caches.js';
import { TenantDatabaseError } from './errors.js';
import type { Fence, Session, Shard } from './shard.js';
import { markDatabase, type Tenant } from './tenant.js';

/** What makes a copy of a template somebody's Odoo. */
export interface Personality {
  /** `https://host`, without a path. */
  readonly baseUrl: string;
  readonly company: string;
  readonly adminLogin: string;
  /** passlib's pbkdf2_sha512; absent: nobody can log in until the password was reset by mail. */
  readonly adminPasswordHash?: string | undefined;
  /** `en_US`; has to be loaded in the template. */
  readonly language: string;
  /** ISO 3166, two letters. */
  readonly country?: string | undefined;
}

/** Looks like a hash to passlib and fits no password: the sum of nothing that anybody knows. */
function hashOfNobody(): string {
  const base64 = (bytes: number) => randomBytes(bytes).toString('base64').replace(/=+$/, '').replaceAll('+', '.');
  return `$pbkdf2-sha512$600000$${base64(16)}$${base64(64)}`;
}

const xmlId = (module: string, name: string, model: string) =>
  `(SELECT res_id FROM ir_model_data WHERE module = '${module}' AND name = '${name}' AND model = '${model}')`;
const administrator = xmlId('base', 'user_admin', 'res.users');
const mainCompany = xmlId('base', 'main_company', 'res.company');
const utc = `now() AT TIME ZONE 'UTC'`;

/**
 * The tenant SQL of Odoo 18 (verified by log-in: facts: odoo-measured §5), in one transaction, for a copy on which no
 * Odoo runs yet. A repeat keeps the uuid and the secret of the first time. Throws LANGUAGE_NOT_LOADED.
 * @returns the identity that this Odoo goes by from now on, as `uuidOf` would say it.
 */
export async function personalise(shard: Shard, tenant: Tenant, who: Personality, fence?: Fence): Promise<string> {
  for (const [field, value] of Object.entries(who))
    if (typeof value === 'string' && value.includes('\0'))
      throw new TenantDatabaseError('BAD_VALUE', `${field} holds a NUL, which PostgreSQL cannot store`, false);
  return await shard.exclusively(
    tenant.name,
    async (session) => {
      const uuid = await shard.inside(
        tenant.name,
        async (client) => {
          const written = await writePersonality(client, tenant, who);
          // Who dies before it does all of it again: the mark is written last.
          await clearCaches(client);
          return written;
        },
        fence,
      );
      await markDatabase(session, shard, tenant, 'personal');
      return uuid;
    },
    fence,
  );
}

async function writePersonality(client: Session, tenant: Tenant, who: Personality): Promise<string> {
  await client.query('BEGIN');
  const { rowCount } = await client.query('SELECT 1 FROM res_lang WHERE code = $1 AND active', [who.language]);
  if (!rowCount)
    throw new TenantDatabaseError('LANGUAGE_NOT_LOADED', `the template has no language ${who.language}`, false);

  const set = async (key: string, value: string, keep: boolean) => {
    await client.query(
      `INSERT INTO ir_config_parameter (key, value, create_uid, create_date, write_uid, write_date)
         VALUES ($1, $2, 1, ${utc}, 1, ${utc})
         ON CONFLICT (key) DO UPDATE SET write_date = excluded.write_date,
           value = CASE WHEN $3 THEN ir_config_parameter.value ELSE excluded.value END`,
      [key, value, keep],
    );
  };
  // Whether the identity in here is the template's or already this tenant's is written beside it.
  const { rows } = await client.query(`SELECT value FROM ir_config_parameter WHERE key = 'mesh.footprint'`);
  const known = rows[0]?.value === tenant.footprintId;
  await set('database.uuid', randomUUID(), known);
  await set('database.secret', randomUUID(), known);
  await set('database.create_date', new Date().toISOString().slice(0, 19).replace('T', ' '), known);
  await set('mesh.footprint', tenant.footprintId, false);
  await set('web.base.url', who.baseUrl, false);
  // Else the first log-in of an administrator writes whatever host was used.
  await set('web.base.url.freeze', 'True', false);

  const hash = who.adminPasswordHash;
  await client.query(
    `UPDATE res_users SET login = $1, write_date = ${utc},
         password = CASE WHEN $2::text IS NULL AND $4 THEN password ELSE coalesce($2, $3) END
       WHERE id = ${administrator}`,
    [who.adminLogin, hash ?? null, hashOfNobody(), known],
  );
  await client.query(`UPDATE res_company SET name = $1 WHERE id = ${mainCompany}`, [who.company]);
  // complete_name is a stored computed field: left alone it goes on saying "My Company".
  await client.query(
    `UPDATE res_partner SET name = $1, complete_name = $1,
         country_id = coalesce((SELECT id FROM res_country WHERE code = $2), country_id)
       WHERE id = (SELECT partner_id FROM res_company WHERE id = ${mainCompany})`,
    [who.company, who.country ?? null],
  );
  await client.query(
    `UPDATE res_partner SET email = $1, lang = $2
       WHERE id = (SELECT partner_id FROM res_users WHERE id = ${administrator})`,
    [who.adminLogin, who.language],
  );
  await client.query('DELETE FROM res_users_log');
  await client.query('DELETE FROM res_device_log');
  const uuid = await readUuid(client, tenant);
  await client.query('COMMIT');
  return uuid;
}

/** The identity Odoo goes by, `database.uuid`. */
export async function uuidOf(shard: Shard, tenant: Tenant): Promise<string> {
  return await shard.inside(tenant.name, (client) => readUuid(client, tenant));
}

export async function readUuid(client: Session, tenant: Tenant): Promise<string> {
  const { rows } = await client.query(`SELECT value FROM ir_config_parameter WHERE key = 'database.uuid'`);
  if (rows.length === 0) throw new Error(`${tenant.name} has no database.uuid`);
  return rows[0].value;
}
