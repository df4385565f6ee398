import { isDatabaseOf } from '#odoo/index.js';
import { dropDatabase } from './copies.js';
import { TenantDatabaseError } from './errors.js';
import { dropFiller, fillerOf } from './filler.js';
import { databaseState, type Found, findIn, findOn, foreign, roleState, type Tenant } from './found.js';
import { checkTenantName, quoteName } from './identifiers.js';
import type { Fence, Session, Shard } from './shard.js';

export interface TenantRemains {
  /** Its own, or the one that filled its database. */
  readonly role: boolean;
  /** Of the tenant's databases those that are there: its own, copies of it. */
  readonly databases: readonly string[];
}

/** What `dropTenant` would have to do with. Throws when the shard cannot be asked. */
export async function remainsOfTenant(
  shard: Shard,
  tenant: Tenant,
  named: readonly string[] = [],
): Promise<TenantRemains> {
  const isThere = async (name: string) => roleState(shard, tenant, await findOn(shard, { ...tenant, name })) === 'ours';
  const role = (await isThere(tenant.name)) || (await isThere(fillerOf(tenant)));
  const there = await databasesOf((sql, parameters) => shard.query<FoundDatabase>(sql, parameters), shard, tenant);
  return { role, databases: there.filter(({ name, ours }) => ours || named.includes(name)).map(({ name }) => name) };
}

/**
 * Destroys the tenant: every database of its that carries our mark of this very footprint, the one that bears its name
 * and copies of it, and the role last. What is gone already is no error. The connections are ended first, and nobody new
 * gets in. Nothing is destroyed, and FOREIGN_OBJECT thrown, where one of the databases in `named`, or the role, is not
 * this footprint's. Rights that the role had elsewhere are taken back; ROLE_OWNS_MORE where something elsewhere is its.
 */
export async function dropTenant(
  shard: Shard,
  tenant: Tenant,
  fence?: Fence,
  named: readonly string[] = [tenant.name],
): Promise<void> {
  checkTenantName(tenant.name);
  await shard.exclusively(
    tenant.name,
    async (session) => {
      const found = await findIn(session, tenant);
      if (roleState(shard, tenant, found) === 'foreign') throw foreign('role', tenant);
      const ask: AskDatabases = async (sql, parameters) => (await session.query<FoundDatabase>(sql, parameters)).rows;
      const there = await databasesOf(ask, shard, tenant);
      const strange = there.find(({ name, ours }) => !ours && named.includes(name));
      if (strange) throw foreign('database', tenant, strange.name);
      for (const { name, ours } of there) if (ours) await dropDatabase(session, name);
      await dropFiller(session, shard, tenant);
      if (found.role_there) await dropRole(session, shard, tenant, fence);
    },
    fence,
  );
}

type FoundDatabase = Found & { readonly name: string };
type AskDatabases = (sql: string, parameters: unknown[]) => Promise<FoundDatabase[]>;

/** All whose name says that they are the tenant's, with whether that is true. */
async function databasesOf(
  ask: AskDatabases,
  shard: Shard,
  tenant: Tenant,
): Promise<{ name: string; ours: boolean }[]> {
  const rows = await ask(
    `SELECT datname AS name, true AS database_there, shobj_description(oid, 'pg_database') AS database_comment,
       datallowconn AS allowed, datdba = (SELECT oid FROM pg_roles WHERE rolname = current_user) AS owned_by_us
     FROM pg_database WHERE starts_with(datname, $1) ORDER BY datname`,
    [tenant.name],
  );
  return rows
    .filter(({ name }) => isDatabaseOf(tenant.name, name))
    .map((found) => ({ name: found.name, ours: databaseState(shard, tenant, found) !== 'foreign' }));
}

async function dropRole(session: Session, shard: Shard, tenant: Tenant, fence: Fence | undefined): Promise<void> {
  const drop = () => session.query(`DROP ROLE ${quoteName(tenant.name)}`);
  try {
    await drop();
  } catch (error) {
    if (!isStillNamed(error)) throw error;
    await takeRightsBack(session, shard, tenant, fence);
    await drop().catch((again) => {
      throw isStillNamed(again) ? new TenantDatabaseError('ROLE_OWNS_MORE', again.message, false) : again;
    });
  }
}

const isStillNamed = (error: unknown) => (error as { code?: string }).code === '2BP01';

/** Somebody gave the role rights outside its own databases. What it owns there is somebody's work, and is left alone. */
async function takeRightsBack(session: Session, shard: Shard, { name }: Tenant, fence: Fence | undefined) {
  const role = quoteName(name);
  // From here on it makes nothing that could be dropped below.
  await session.query(`ALTER ROLE ${role} NOLOGIN`);
  await session.query('SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE usename = $1', [name]);
  const { rows } = await session.query<{ database: string | null; owns: boolean }>(
    `SELECT d.datname AS database, bool_or(s.deptype = 'o') AS owns
     FROM pg_shdepend s LEFT JOIN pg_database d ON d.oid = s.dbid
     WHERE s.refclassid = 'pg_authid'::regclass AND s.refobjid = (SELECT oid FROM pg_roles WHERE rolname = $1)
     GROUP BY d.datname ORDER BY d.datname`,
    [name],
  );
  const owned = rows.filter(({ owns }) => owns).map(({ database }) => database ?? 'the server itself');
  if (owned.length > 0)
    throw new TenantDatabaseError('ROLE_OWNS_MORE', `role ${name} owns objects in ${owned.join(', ')}`, false);
  // Only a member of the role may do this. It owns nothing, so that this takes rights and drops nothing.
  await session.query(`GRANT ${role} TO CURRENT_USER`);
  for (const { database } of rows)
    if (database) await shard.inside(database, (client) => client.query(`DROP OWNED BY ${role}`), fence);
  await session.query(`DROP OWNED BY ${role}`);
}
