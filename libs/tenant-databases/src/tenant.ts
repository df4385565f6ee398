import { TenantDatabaseError } from './errors.js';
import {
  databaseState,
  findIn,
  findOn,
  foreign,
  inUse,
  isBeingFilled,
  isFinished,
  type ObservedTenant,
  roleState,
  type Tenant,
} from './found.js';
import { checkTenantName, quoteName, quoteText } from './identifiers.js';
import { type Mark, writeMark } from './mark.js';
import { scramVerifier } from './scram.js';
import type { Fence, Session, Shard } from './shard.js';

export type { ObservedTenant, Tenant } from './found.js';

/** Throws when the shard cannot be asked. */
export async function observeTenant(shard: Shard, tenant: Tenant): Promise<ObservedTenant> {
  const found = await findOn(shard, tenant);
  return { role: roleState(shard, tenant, found), database: databaseState(shard, tenant, found) };
}

/**
 * The tenant's login role: it may connect, and nothing more; never CREATEDB, with which an Odoo would make an empty
 * database where its own is missing. Sets the password again when it exists. Throws FOREIGN_OBJECT for a role that is
 * not this footprint's.
 */
export async function ensureTenantRole(
  shard: Shard,
  tenant: Tenant,
  { password, connectionLimit }: { password: string; connectionLimit: number },
  fence?: Fence,
): Promise<void> {
  const role = quoteName(checkTenantName(tenant.name));
  await shard.exclusively(
    tenant.name,
    async (session) => {
      const found = await findIn(session, tenant);
      if (roleState(shard, tenant, found) === 'foreign') throw foreign('role', tenant);
      // Neither superuser nor replication is what a new role is, and to say so of one that is there takes a superuser.
      const attributes = `LOGIN NOCREATEDB NOCREATEROLE CONNECTION LIMIT ${Math.trunc(connectionLimit)} PASSWORD ${quoteText(scramVerifier(password))}`;
      // One transaction: a role without our mark would be taken for a stranger's.
      await session.query('BEGIN');
      await session.query(`${found.role_there ? 'ALTER' : 'CREATE'} ROLE ${role} ${attributes}`);
      await session.query(
        `COMMENT ON ROLE ${role} IS ${quoteText(writeMark({ mesh: shard.meshName, footprint: tenant.footprintId, epoch: tenant.epoch }))}`,
      );
      await session.query(`GRANT ${quoteName(shard.tenantGroup)} TO ${role}`);
      await session.query('COMMIT');
    },
    fence,
  );
}

/**
 * The one clone routine. The copy lets nobody in until its rights are set, and belongs to the tenant in the end. May be
 * cut off after any statement and run again. Throws FOREIGN_OBJECT for a database that is not this footprint's,
 * DATABASE_IN_USE for one that a backup fills, and TEMPLATE_BUSY (try again) while somebody is connected to the template.
 */
export async function cloneTemplate(shard: Shard, tenant: Tenant, template: string, fence?: Fence): Promise<void> {
  const database = quoteName(checkTenantName(tenant.name));
  await shard.exclusively(
    tenant.name,
    async (session) => {
      const found = await findIn(session, tenant);
      const state = databaseState(shard, tenant, found);
      if (state === 'foreign') throw foreign('database', tenant);
      if (isFinished(state)) return;
      if (isBeingFilled(state)) throw inUse(tenant, 'is there to be filled from a backup');
      if (state === 'absent') await createDatabase(session, database, template);
      await openToTenant(session, shard, tenant);
      await shard.inside(tenant.name, (client) => giveEverythingTo(client, tenant.name, shard.readerGroup), fence);
      await markDatabase(session, shard, tenant, 'owned');
    },
    fence,
  );
}

/**
 * A copy that has just been made, or that was left in the middle of this, is marked as ours and lets in whom it is for.
 * Within `exclusively`.
 */
export async function openToTenant(session: Session, shard: Shard, tenant: Tenant, copy = tenant.name): Promise<void> {
  const database = quoteName(copy);
  await markDatabase(session, shard, tenant, 'copied', copy);
  await session.query(`REVOKE ALL ON DATABASE ${database} FROM PUBLIC`);
  // TEMPORARY and CREATE: Odoo makes temporary tables, and trusted extensions (pg_trgm, unaccent) when modules ask.
  await session.query(`GRANT CONNECT, TEMPORARY, CREATE ON DATABASE ${database} TO ${quoteName(tenant.name)}`);
  await session.query(`GRANT CONNECT ON DATABASE ${database} TO ${quoteName(shard.readerGroup)}`);
  await session.query(`ALTER DATABASE ${database} ALLOW_CONNECTIONS true`);
}

async function createDatabase(session: Session, database: string, template: string): Promise<void> {
  try {
    await session.query(`CREATE DATABASE ${database} TEMPLATE ${quoteName(template)} ALLOW_CONNECTIONS false`);
  } catch (error) {
    const { code, message } = error as { code?: string; message: string };
    if (code === '55006') throw new TenantDatabaseError('TEMPLATE_BUSY', message, true);
    if (code === '3D000')
      throw new TenantDatabaseError('TEMPLATE_MISSING', `there is no template ${template} on this shard`, true);
    throw error;
  }
}

/**
 * Every object of schema public gets the tenant as owner, one by one: REASSIGN OWNED would reach into every other
 * database of the template's owner. Owned sequences follow their tables.
 */
export async function giveEverythingTo(client: Session, role: string, readerGroup: string): Promise<void> {
  // To hand a thing over one has to be a member of the new owner, for this transaction.
  await client.query(`DO $$
    DECLARE
      tenant constant name := ${quoteText(role)};
      one record;
    BEGIN
      IF tenant <> current_user THEN
        EXECUTE format('GRANT %I TO CURRENT_USER', tenant);
      END IF;
      EXECUTE format('ALTER SCHEMA public OWNER TO %I', tenant);
      FOR one IN
        SELECT c.oid::regclass::text AS object, CASE c.relkind WHEN 'v' THEN 'VIEW' WHEN 'm' THEN 'MATERIALIZED VIEW'
            WHEN 'f' THEN 'FOREIGN TABLE' ELSE 'TABLE' END AS kind
        FROM pg_class c WHERE c.relnamespace = 'public'::regnamespace AND c.relkind IN ('r', 'p', 'v', 'm', 'f')
          AND NOT EXISTS (SELECT 1 FROM pg_depend d WHERE d.objid = c.oid AND d.deptype = 'e')
          AND c.relowner <> (SELECT oid FROM pg_roles WHERE rolname = tenant)
      LOOP
        EXECUTE format('ALTER %s %s OWNER TO %I', one.kind, one.object, tenant);
      END LOOP;
      FOR one IN
        SELECT c.oid::regclass::text AS object FROM pg_class c
        WHERE c.relnamespace = 'public'::regnamespace AND c.relkind = 'S'
          AND NOT EXISTS (SELECT 1 FROM pg_depend d WHERE d.objid = c.oid AND d.deptype IN ('a', 'i', 'e'))
          AND c.relowner <> (SELECT oid FROM pg_roles WHERE rolname = tenant)
      LOOP
        EXECUTE format('ALTER SEQUENCE %s OWNER TO %I', one.object, tenant);
      END LOOP;
      FOR one IN
        SELECT p.oid::regprocedure::text AS object, CASE p.prokind WHEN 'p' THEN 'PROCEDURE' WHEN 'a' THEN 'AGGREGATE'
            ELSE 'FUNCTION' END AS kind
        FROM pg_proc p WHERE p.pronamespace = 'public'::regnamespace
          AND NOT EXISTS (SELECT 1 FROM pg_depend d WHERE d.objid = p.oid AND d.deptype = 'e')
          AND p.proowner <> (SELECT oid FROM pg_roles WHERE rolname = tenant)
      LOOP
        EXECUTE format('ALTER %s %s OWNER TO %I', one.kind, one.object, tenant);
      END LOOP;
      IF to_regclass('public.ir_attachment') IS NOT NULL THEN
        -- Backups hold Odoo's garbage collection of attachments off with a lock that needs this right.
        EXECUTE format('GRANT UPDATE ON public.ir_attachment TO %I', ${quoteText(readerGroup)});
      END IF;
    END $$`);
}

/** Writes how far the database is. Within `exclusively`. */
export async function markDatabase(
  session: Session,
  shard: Shard,
  tenant: Tenant,
  state: Mark['state'],
  database = tenant.name,
): Promise<void> {
  const text = writeMark({ mesh: shard.meshName, footprint: tenant.footprintId, epoch: tenant.epoch, state });
  await session.query(`COMMENT ON DATABASE ${quoteName(database)} IS ${quoteText(text)}`);
}
