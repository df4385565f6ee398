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
