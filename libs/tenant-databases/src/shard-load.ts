import { TenantDatabaseError } from './errors.js';
import type { Shard } from './shard.js';

/** Whoever holds the oldest row versions of a server back: vacuum cleans nothing that is younger, in any database. */
export interface OldestSnapshot {
  /** Undefined: nobody can tell, as of a replication slot. */
  readonly seconds: number | undefined;
  /** How many transactions have begun since. */
  readonly transactions: number;
  /** A session's application name and database, a slot's or a prepared transaction's name. */
  readonly holder: string;
}

/** Undefined: nobody holds anything back. Throws when the shard cannot be asked. */
export async function oldestSnapshotAge(shard: Shard): Promise<OldestSnapshot | undefined> {
  const [oldest] = await shard.query<{ seconds: number | null; transactions: number; holder: string }>(
    `SELECT extract(epoch FROM clock_timestamp() - since)::float8 AS seconds, transactions, holder FROM (
       SELECT greatest(age(backend_xmin), age(backend_xid)) AS transactions,
         coalesce(xact_start, backend_start) AS since, concat_ws(' in ', nullif(application_name, ''), datname) AS holder
       FROM pg_stat_activity WHERE pid <> pg_backend_pid() AND (backend_xmin IS NOT NULL OR backend_xid IS NOT NULL)
       UNION ALL SELECT age(transaction), prepared, concat('prepared transaction ', gid) FROM pg_prepared_xacts
       UNION ALL SELECT greatest(age(xmin), age(catalog_xmin)), NULL, concat('replication slot ', slot_name)
       FROM pg_replication_slots WHERE xmin IS NOT NULL OR catalog_xmin IS NOT NULL
     ) held ORDER BY transactions DESC, since LIMIT 1`,
  );
  if (!oldest) return undefined;
  const { seconds, transactions, holder } = oldest;
  return { seconds: seconds ?? undefined, transactions, holder };
}

/** On the shard's disk. Throws DATABASE_MISSING. */
export async function databaseBytes(shard: Shard, database: string): Promise<number> {
  const [row] = await shard.query<{ bytes: string }>(
    'SELECT pg_database_size(oid) AS bytes FROM pg_database WHERE datname = $1',
    [database],
  );
  if (!row) throw new TenantDatabaseError('DATABASE_MISSING', `there is no database ${database} on this shard`, false);
  return Number(row.bytes);
}

/** A server with thousands of databases has millions of files to be looked at. */
const longestLookMs = 60_000;

/**
 * What all databases of the shard take on its disk, with what a copy that was cut off has left; without WAL and logs, which
 * nobody but an administrator sees. Costs a look at every file of the server. Throws TOOK_TOO_LONG (try again).
 */
export async function shardBytes(shard: Shard): Promise<number> {
  try {
    const [row] = await shard.query<{ bytes: string }>(`SELECT pg_tablespace_size('pg_default') AS bytes`);
    return Number(row!.bytes);
  } catch (error) {
    const { code, message } = error as { code?: string; message: string };
    throw code === '57014' ? new TenantDatabaseError('TOOK_TOO_LONG', message, true) : error;
  }
}

/**
 * The files of its filestore that a database names, each once, in bytes. Throws NOT_ODOO for one without attachments,
 * BAD_VALUE for a size that is none, and what `readDatabase` throws.
 */
export async function filestoreBytes(shard: Shard, database: string): Promise<number> {
  return await shard.reading(
    database,
    async (ask) => {
      try {
        // As in odoo-tables.ts: what is cast is text, so that no cast of a tenant's is run.
        const { rows } = await ask(
          `SELECT coalesce(sum(bytes), 0) AS bytes FROM (
             SELECT max(nullif(format('%s', file_size), '')::bigint) AS bytes
             FROM ONLY public.ir_attachment WHERE store_fname IS NOT NULL GROUP BY format('%s', store_fname)
           ) files`,
        );
        return Number(rows[0].bytes);
      } catch (error) {
        throw thatIsNoOdoo(error) ?? error;
      }
    },
    longestLookMs,
  );
}

/** What stands where Odoo's table should is the tenant's, and may be anything. */
function thatIsNoOdoo(error: unknown): TenantDatabaseError | undefined {
  const { code = '', message } = error as { code?: string; message: string };
  if (/^22/.test(code)) return new TenantDatabaseError('BAD_VALUE', message, false);
  return /^(42(?!501)|55000$)/.test(code) ? new TenantDatabaseError('NOT_ODOO', message, false) : undefined;
}

/** Of whoever is no superuser. */
export interface Connections {
  /** Of the whole server, without those that are kept for administrators. */
  readonly most: number;
  readonly taken: number;
  /** Of `taken`. */
  readonly ofTenant: number;
  /** CONNECTION LIMIT of the tenant's role; -1: none. */
  readonly tenantLimit: number;
}

/** Throws TENANT_MISSING. */
export async function connectionsOf(shard: Shard, tenant: string): Promise<Connections> {
  const [found] = await shard.query<Connections>(
    // Version 16 keeps some for a role of their own too.
    `SELECT current_setting('max_connections')::int - current_setting('superuser_reserved_connections')::int
         - coalesce(current_setting('reserved_connections', true)::int, 0) AS most,
       (SELECT count(*)::int FROM pg_stat_activity WHERE backend_type = 'client backend') AS taken,
       (SELECT count(*)::int FROM pg_stat_activity WHERE usename = $1) AS "ofTenant", rolconnlimit AS "tenantLimit"
     FROM pg_roles WHERE rolname = $1`,
    [tenant],
  );
  if (!found) throw new TenantDatabaseError('TENANT_MISSING', `there is no role ${tenant} on this shard`, false);
  return found;
}
