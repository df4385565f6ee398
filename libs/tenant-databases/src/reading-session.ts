import type { Socket } from 'node:net';
import { Client, type QueryResult } from 'pg';
import { thatEndsWhenSilentFor } from '#persistence/index.js';
import { TenantDatabaseError } from './errors.js';

/** One statement after another, whoever asks. */
export type Ask = (sql: string, parameters?: readonly unknown[]) => Promise<QueryResult>;

export interface ReadingOptions {
  /** From the connection on, in ms; then it ends with TOOK_TOO_LONG. */
  readonly longestMs: number;
  readonly signal?: AbortSignal | undefined;
  /** Who reads, in pg_stat_activity. */
  readonly applicationName?: string;
}

/** Shorter than the server waits for somebody who is gone, or stands still, and holds back its vacuum. */
const sayEveryMs = 15_000;
const idleForMs = 60_000;

/**
 * A connection of its own with one transaction that changes nothing, for as long as `work` takes. The first statement of
 * `work` that reads settles what it shows. Ends in any case, with the server's part of it.
 */
export async function inTransaction<T>(
  readerUrl: string,
  database: string,
  { longestMs, signal, applicationName = 'mesh backup' }: ReadingOptions,
  work: (ask: Ask, signal: AbortSignal) => Promise<T>,
): Promise<T> {
  signal?.throwIfAborted();
  const end = new AbortController();
  let socket: Socket | undefined;
  const client = new Client({
    connectionString: urlOf(readerUrl, database),
    connectionTimeoutMillis: 10_000,
    application_name: applicationName,
    keepAlive: true,
    options: settings(longestMs),
    stream: () => {
      socket = thatEndsWhenSilentFor(longestMs);
      return socket;
    },
  });
  const lose = (error?: Error) => end.abort(lost(database, error));
  client.on('error', lose);
  client.on('end', () => lose());
  const giveUp = () => end.abort(signal?.reason);
  signal?.addEventListener('abort', giveUp, { once: true });
  const tooLong = setTimeout(() => {
    end.abort(new TenantDatabaseError('TOOK_TOO_LONG', `${database} was read for more than ${longestMs} ms`, true));
  }, longestMs);
  // The server's part ends with the connection, in the middle of a statement too.
  end.signal.addEventListener('abort', () => socket?.destroy(), { once: true });

  const ask = oneAfterAnother(client);
  const say = setInterval(() => ask('SELECT 1').catch(lose), sayEveryMs);
  try {
    await client.connect();
    await ask('BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY');
    const result = await work(ask, end.signal);
    // Also the proof that all of it was one transaction, to its end.
    await ask('COMMIT');
    end.signal.throwIfAborted();
    return result;
  } catch (error) {
    throw end.signal.aborted ? end.signal.reason : explained(error, database);
  } finally {
    clearInterval(say);
    clearTimeout(tooLong);
    signal?.removeEventListener('abort', giveUp);
    client.removeAllListeners('end');
    // Not `end`, which waits for an answer; nobody is left to hear an error either.
    socket?.destroy();
  }
}

/**
 * What a tenant made is read and never run: no name is looked up among its own, none of its policies is evaluated, and a
 * view where a table should be is an error (CVE-2018-1058, CVE-2024-7348; pg_dump does the same). Values are written
 * in one way, whatever the server's settings.
 */
function settings(longestMs: number): string {
  const all = {
    search_path: '',
    row_security: 'off',
    restrict_nonsystem_relation_kind: 'view,foreign-table',
    statement_timeout: longestMs,
    lock_timeout: 20_000,
    idle_in_transaction_session_timeout: idleForMs,
    client_connection_check_interval: 10_000,
    datestyle: 'ISO,YMD',
    timezone: 'UTC',
    intervalstyle: 'iso_8601',
    extra_float_digits: 3,
    bytea_output: 'hex',
    xmlbinary: 'base64',
    lc_monetary: 'C',
    // A backup is in nobody's way, and compiling costs more than it saves where tables are many and small.
    jit: 'off',
    max_parallel_workers_per_gather: 0,
  };
  return Object.entries(all)
    .map(([name, value]) => `-c ${name}=${value}`)
    .join(' ');
}

function oneAfterAnother(client: Client): Ask {
  let last: Promise<unknown> = Promise.resolve();
  return (sql, parameters = []) => {
    const answer = last.then(() => client.query(sql, [...parameters]));
    last = answer.catch(() => {});
    return answer;
  };
}

export function urlOf(url: string, database: string): string {
  const at = new URL(url);
  at.pathname = `/${encodeURIComponent(database)}`;
  return at.toString();
}

function lost(database: string, error: Error | undefined): TenantDatabaseError {
  const why = error ? `: ${error.message}` : '';
  return new TenantDatabaseError('SNAPSHOT_LOST', `the connection that read ${database} was ended${why}`, true);
}

const known: Readonly<Record<string, readonly [TenantDatabaseError['code'], retryable: boolean]>> = {
  '3D000': ['DATABASE_MISSING', false],
  '42501': ['READER_NOT_ALLOWED', false],
  // Of the settings above, the one that minor versions before August 2024 do not have.
  '42704': ['SERVER_TOO_OLD', false],
  '55P03': ['LOCK_TIMEOUT', true],
  '57014': ['TOOK_TOO_LONG', true],
  '57P01': ['SNAPSHOT_LOST', true],
  '25P03': ['SNAPSHOT_LOST', true],
};

function explained(error: unknown, database: string): unknown {
  const { code, message } = error as { code?: string; message: string };
  const meaning = known[code ?? ''];
  return meaning ? new TenantDatabaseError(meaning[0], `${database}: ${message}`, meaning[1]) : error;
}
