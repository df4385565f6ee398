import { isDatabaseOf } from '#odoo/index.js';
import { TenantDatabaseError } from './errors.js';
import { databaseState, findIn, foreign, isFinished, roleState, type Tenant } from './found.js';
import { checkTenantName, quoteName } from './identifiers.js';
import type { Fence, Session, Shard } from './shard.js';
import { markDatabase, openToTenant } from './tenant.js';

/** A customer's database may be large, and nothing is heard of the server while it copies. */
const longestCopyMs = 3_600_000;

/**
 * Copies one database of the tenant to another one, which is then the tenant's as the first is. The name `to` is for this
 * one copy: one that is finished, or in the middle, is not made anew, whatever has happened to `from` since. May be cut
 * off after any statement and run again. Whoever only reads `from` is thrown out. Throws FOREIGN_OBJECT for what is not this
 * footprint's, SOURCE_BUSY (try again) while somebody else is connected to `from`, SOURCE_MISSING, TENANT_MISSING without the tenant's role, BAD_NAME.
 */
export async function copyTenantDatabase(
  shard: Shard,
  tenant: Tenant,
  { from, to }: { readonly from: string; readonly to: string },
  fence?: Fence,
): Promise<void> {
  checkDatabaseName(tenant, from);
  checkDatabaseName(tenant, to);
  if (from === to) throw new TenantDatabaseError('BAD_NAME', `${from} cannot be a copy of itself`, false);
  await shard.exclusively(
    tenant.name,
    async (session) => {
      const found = await findIn(session, tenant, to);
      const state = databaseState(shard, tenant, found);
      if (state === 'foreign') throw foreign('database', tenant, to);
      if (isFinished(state)) return;
      const role = roleState(shard, tenant, found);
      if (role === 'foreign') throw foreign('role', tenant);
      if (role === 'absent')
        throw new TenantDatabaseError('TENANT_MISSING', `there is no role ${tenant.name} on this shard`, false);
      if (state === 'absent') await createCopy(session, shard, tenant, from, to);
      await openToTenant(session, shard, tenant, to);
      // What is in it is the tenant's already, as it was in `from`.
      await markDatabase(session, shard, tenant, 'owned', to);
    },
    fence,
    longestCopyMs,
  );
}

async function createCopy(session: Session, shard: Shard, tenant: Tenant, from: string, to: string): Promise<void> {
  const source = databaseState(shard, tenant, await findIn(session, tenant, from));
  if (source === 'foreign') throw foreign('database', tenant, from);
  if (!isFinished(source))
    throw new TenantDatabaseError('SOURCE_MISSING', `there is no finished database ${from} on this shard`, false);
  await endReaders(session, shard, from);
  try {
    await session.query(`CREATE DATABASE ${quoteName(to)} TEMPLATE ${quoteName(from)} ALLOW_CONNECTIONS false`);
  } catch (error) {
    const { code, message } = error as { code?: string; message: string };
    if (code === '55006') throw new TenantDatabaseError('SOURCE_BUSY', message, true);
    throw error;
  }
}

/** A dump, for instance, which may take hours: it is made again, while an instance that stands still for a copy does not wait. */
async function endReaders(session: Session, shard: Shard, database: string): Promise<void> {
  await session.query(
    `SELECT pg_terminate_backend(a.pid, 5000) FROM pg_stat_activity a JOIN pg_roles r ON r.oid = a.usesysid
     WHERE a.datname = $1 AND NOT r.rolsuper AND pg_has_role(r.oid, $2, 'MEMBER')`,
    [database, shard.readerGroup],
  );
}

/**
 * Destroys one database of the tenant, and nothing else of it: a copy that is not needed, or the one before a copy. Only
 * with our mark of this very footprint (FOREIGN_OBJECT); gone already is no error. Throws BAD_NAME for a name that is not
 * one of this tenant's databases. The connections are ended first, and nobody new gets in.
 */
export async function dropTenantDatabase(shard: Shard, tenant: Tenant, database: string, fence?: Fence): Promise<void> {
  checkDatabaseName(tenant, database);
  await shard.exclusively(
    tenant.name,
    async (session) => {
      const state = databaseState(shard, tenant, await findIn(session, tenant, database));
      if (state === 'foreign') throw foreign('database', tenant, database);
      if (state !== 'absent') await dropDatabase(session, database);
    },
    fence,
  );
}

/** Within `exclusively`, and after a look at its mark. */
export async function dropDatabase(session: Session, database: string): Promise<void> {
  await session.query(`ALTER DATABASE ${quoteName(database)} ALLOW_CONNECTIONS false`);
  await session.query(`DROP DATABASE ${quoteName(database)} WITH (FORCE)`);
}

export function checkDatabaseName(tenant: Tenant, database: string): void {
  checkTenantName(tenant.name);
  if (!isDatabaseOf(tenant.name, database))
    throw new TenantDatabaseError('BAD_NAME', `${JSON.stringify(database)} is no database of ${tenant.name}`, false);
  // PostgreSQL would cut a longer one off, and mean another database.
  if (database.length > 63)
    throw new TenantDatabaseError('BAD_NAME', `${database} is longer than the 63 bytes of a database's name`, false);
}
