import { randomUUID } from 'node:crypto';
import { TenantDatabaseError } from './errors.js';
import { fillerOf, newFiller } from './filler.js';
import { databaseState, findIn, foreign, type Tenant } from './found.js';
import { checkTenantName, quoteName } from './identifiers.js';
import { type Rule, rules } from './neutral-rules.js';
import { asFiller } from './restore.js';
import type { Fence, Session, Shard } from './shard.js';

const longestStatementMs = 600_000;

/** Who this Odoo is from now on; absent: somebody new. */
export interface NewIdentity {
  readonly uuid?: string;
  readonly secret?: string;
}

/**
 * Makes a filled database, before it is opened, one from which nothing goes out: no mail, no payment, no call, no scheduled
 * action but the autovacuum; with an identity of its own, so that no session or link of the first one is good here. As
 * Odoo's `neutralize` does, and some more. It runs as the role that fills, because triggers of the customer's may run
 * with it. Checked at the end: NOT_NEUTRALISED names what could still act, and nothing was changed. Safe to repeat.
 * Throws NOT_FILLED, FOREIGN_OBJECT.
 * @returns the new `database.uuid`.
 */
export async function neutraliseDatabase(
  shard: Shard,
  tenant: Tenant,
  { uuid = randomUUID(), secret = randomUUID() }: NewIdentity,
  fence: Fence,
): Promise<string> {
  checkTenantName(tenant.name);
  await shard.exclusively(
    tenant.name,
    async (session) => {
      const state = databaseState(shard, tenant, await findIn(session, tenant));
      if (state === 'foreign') throw foreign('database', tenant);
      if (state !== 'filled')
        throw new TenantDatabaseError('NOT_FILLED', `database ${tenant.name} is ${state}, and not filled`, false);
      const { password } = await newFiller(session, shard, tenant);
      const url = shard.urlOf(tenant.name, fillerOf(tenant), password);
      await asFiller(url, longestStatementMs, undefined, (client) => neutralise(fenced(client, fence), uuid, secret));
    },
    fence,
    longestStatementMs,
  );
  return uuid;
}

function fenced(client: Session, fence: Fence): Session {
  return {
    query(sql, parameters) {
      fence();
      return client.query(sql, parameters);
    },
  };
}

async function neutralise(client: Session, uuid: string, secret: string): Promise<void> {
  await client.query('BEGIN');
  await client.query(`SET LOCAL search_path = ''`);
  const columns = await columnsOf(client);
  for (const rule of rules) {
    const there = columns.get(rule.table);
    if (!there || !rule.needs.every((column) => there.has(column))) continue;
    await client.query(`UPDATE public.${quoteName(rule.table)} SET ${rule.set} WHERE ${rule.acts}`);
  }
  await client.query(
    `INSERT INTO public.ir_mail_server (${sinkColumns(columns).map(([column]) => column)})
     SELECT ${sinkColumns(columns).map(([, value]) => value)}
     WHERE NOT EXISTS (SELECT 1 FROM public.ir_mail_server WHERE active AND smtp_host = 'invalid')`,
  );
  const parameters = { 'database.uuid': uuid, 'database.secret': secret, 'database.is_neutralized': 'true' };
  for (const [key, value] of Object.entries(parameters))
    await client.query(
      `INSERT INTO public.ir_config_parameter (key, value) VALUES ($1, $2)
       ON CONFLICT (key) DO UPDATE SET value = excluded.value`,
      [key, value],
    );
  // Triggers of the customer's that wait for COMMIT run before somebody looks.
  await client.query('SET CONSTRAINTS ALL IMMEDIATE');
  const left = await isNeutralised(client);
  if (left.length > 0)
    throw new TenantDatabaseError('NOT_NEUTRALISED', `still at work: ${left.join('; ')}`.slice(0, 1_000), false);
  await client.query('COMMIT');
}

/** Odoo takes the mail server of its own settings where it finds none: this one is found, and leads nowhere. */
function sinkColumns(columns: Map<string, Set<string>>): readonly (readonly [string, string])[] {
  const there = columns.get('ir_mail_server');
  const all = [
    ['name', `'neutralised: no mail leaves'`],
    ['smtp_host', `'invalid'`],
    ['smtp_port', '1025'],
    ['smtp_encryption', `'none'`],
    ['smtp_authentication', `'login'`],
    // Lower than any other's would be tried first.
    ['sequence', '0'],
    ['active', 'true'],
  ] as const;
  return all.filter(([column]) => there?.has(column));
}

/**
 * What in this database could still act on the world, in words; nothing: it is neutral. A table that is there and is not
 * as it is known counts as one that could. Only what an Odoo 18 with its own modules has is known: a module that somebody
 * else has written, and calls out by itself, is not seen.
 */
export async function isNeutralised(client: Session): Promise<string[]> {
  const columns = await columnsOf(client);
  const left: string[] = [];
  for (const rule of rules) {
    const said = await stillActs(client, rule, columns.get(rule.table));
    if (said) left.push(said);
  }
  const { rows } = await client.query<{ sinks: boolean; flag: boolean }>(
    `SELECT coalesce(bool_or(active AND smtp_host = 'invalid'), false) AS sinks,
       EXISTS (SELECT 1 FROM public.ir_config_parameter WHERE key = 'database.is_neutralized' AND value = 'true') AS flag
     FROM public.ir_mail_server`,
  );
  if (!rows[0]!.sinks) left.push('no mail server takes the place of the one in the settings of Odoo');
  if (!rows[0]!.flag) left.push('Odoo does not know that it is neutralised');
  return left;
}

async function stillActs(client: Session, rule: Rule, there: Set<string> | undefined): Promise<string | undefined> {
  if (!there) return rule.always ? `there is no table ${rule.table}` : undefined;
  const missing = rule.needs.find((column) => !there.has(column));
  // A table that many modules share has the column only with the module; one of the module's own always has it.
  if (missing) return rule.shared ? undefined : `${rule.table} has no column ${missing}: ${rule.what} cannot be told`;
  const { rows } = await client.query<{ n: number }>(
    `SELECT count(*)::int AS n FROM public.${quoteName(rule.table)} WHERE ${rule.acts}`,
  );
  return rows[0]!.n > 0 ? `${rows[0]!.n} of ${rule.table}: ${rule.what}` : undefined;
}

async function columnsOf(client: Session): Promise<Map<string, Set<string>>> {
  const { rows } = await client.query<{ name: string; columns: string[] }>(
    `SELECT c.relname AS name, array_agg(a.attname::text) AS columns
     FROM pg_catalog.pg_class c JOIN pg_catalog.pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
     WHERE c.relnamespace = 'public'::regnamespace AND c.relkind = ANY ('{r,p,v,m,f}') GROUP BY c.relname`,
  );
  return new Map(rows.map(({ name, columns }) => [name, new Set(columns)]));
}
