import { type Fingerprint, takeFingerprint } from './fingerprint.js';
import { type InstalledModules, installedModules, type StoredFile, storedFiles } from './odoo-tables.js';
import { type Ask, inTransaction, type ReadingOptions } from './reading-session.js';

export type { ReadingOptions } from './reading-session.js';

/** What stands in a database at one moment. */
export interface Reading {
  /** For instance 15. */
  readonly serverMajor: number;
  readonly databaseBytes: number;
  /** Aborted when nothing more can be read, with the reason. */
  readonly signal: AbortSignal;
  fingerprint(): Promise<Fingerprint>;
  /** Sorted by name, each once. */
  storedFiles(): AsyncIterable<StoredFile>;
  modules(): Promise<InstalledModules>;
}

/**
 * Reads a database as it is now, in one transaction. In it may be anything that a tenant could write; nothing of that is
 * run. `work` may be in the middle when the connection breaks: its `signal` is aborted, and the error is SNAPSHOT_LOST
 * (try again) whatever `work` made of it. Throws DATABASE_MISSING, READER_NOT_ALLOWED, SERVER_TOO_OLD.
 * @param readerUrl of database `postgres`, as the role that reads every tenant (`prepareShard`).
 */
export async function readDatabase<T>(
  readerUrl: string,
  database: string,
  work: (reading: Reading) => Promise<T>,
  options: ReadingOptions,
): Promise<T> {
  return await inTransaction(readerUrl, database, options, async (ask, signal) => {
    const { serverMajor, databaseBytes } = await look(ask);
    return await work(readingOf(ask, { serverMajor, databaseBytes, signal }));
  });
}

export function readingOf(ask: Ask, known: Pick<Reading, 'serverMajor' | 'databaseBytes' | 'signal'>): Reading {
  return {
    ...known,
    fingerprint: () => takeFingerprint(ask),
    storedFiles: () => storedFiles(ask),
    modules: () => installedModules(ask),
  };
}

export async function look(ask: Ask): Promise<{ serverMajor: number; databaseBytes: number; standby: boolean }> {
  const { rows } = await ask(
    `SELECT current_setting('server_version_num')::int / 10000 AS major,
       pg_database_size(current_database()) AS bytes, pg_is_in_recovery() AS standby`,
  );
  return { serverMajor: rows[0].major, databaseBytes: Number(rows[0].bytes), standby: rows[0].standby };
}
