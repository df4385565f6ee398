import { TenantDatabaseError } from './errors.js';
import { look, type Reading, readingOf } from './reading.js';
import { type Ask, inTransaction, type ReadingOptions } from './reading-session.js';

export interface HeldSnapshot extends Reading {
  /** For `dumpDatabase`. */
  readonly snapshot: string;
  /** The moment that it shows. */
  readonly takenAt: Date;
}

/**
 * Holds a database at one moment, for its dump and everything that has to fit it, for as long as `work` takes. Odoo goes
 * on working, and every file that the database names then stays: the lock is one that its garbage collection gives up
 * over (facts: storage-and-backup §5.1). Nothing is written. When the connection breaks, `signal` is aborted, and the error
 * is SNAPSHOT_LOST (try again), whatever `work` made of it: files may be gone since. Throws NOT_ODOO for a database without
 * attachments, LOCK_TIMEOUT while its garbage is collected, NOT_PRIMARY, and what `readDatabase` throws.
 */
export async function holdSnapshot<T>(
  readerUrl: string,
  database: string,
  work: (held: HeldSnapshot) => Promise<T>,
  options: ReadingOptions,
): Promise<T> {
  return await inTransaction(readerUrl, database, options, async (ask, signal) => {
    await holdFiles(ask);
    // The first that reads, so that it shows nothing older than the lock.
    const { rows } = await ask('SELECT pg_export_snapshot() AS snapshot, statement_timestamp() AS "takenAt"');
    const { serverMajor, databaseBytes, standby } = await look(ask);
    if (standby) throw new TenantDatabaseError('NOT_PRIMARY', `the server of ${database} is a standby`, true);
    return await work({ ...readingOf(ask, { serverMajor, databaseBytes, signal }), ...rows[0] });
  });
}

async function holdFiles(ask: Ask): Promise<void> {
  try {
    await ask('LOCK TABLE ONLY public.ir_attachment IN ROW EXCLUSIVE MODE');
  } catch (error) {
    const { code, message } = error as { code?: string; message: string };
    throw code === '42P01' || code === '42809' ? new TenantDatabaseError('NOT_ODOO', message, false) : error;
  }
}
