import { type Readable, Transform } from 'node:stream';
import { finished } from 'node:stream/promises';
import type { PostgresPrograms } from './programs.js';
import { libpqEnvironment, runProgram } from './run-program.js';

export interface Dump {
  /** Ends only when pg_dump has ended well; whatever else happens destroys it with the error. */
  readonly content: Readable;
  /** Settles with the end of `content`. Nobody has to listen. */
  readonly done: Promise<void>;
}

export interface DumpOptions {
  /** Of database `postgres`, as the role that reads every tenant. */
  readonly readerUrl: string;
  readonly database: string;
  /** Of `holdSnapshot`, with its signal. */
  readonly snapshot: string;
  readonly signal: AbortSignal;
  readonly programs: PostgresPrograms;
  /** 0 to 9. */
  readonly compression?: number;
}

/**
 * The database as the snapshot shows it, in PostgreSQL's custom format, as it comes: no more of it is in memory than its
 * reader leaves lying. Owners and rights are in it, and are left out when it is restored, where the format allows it.
 * Errors are DUMP_FAILED (try again), or the signal's reason.
 */
export function dumpDatabase(options: DumpOptions): Dump {
  const { readerUrl, database, snapshot, signal, programs, compression = 1 } = options;
  const args = [
    '--format=custom',
    `--compress=${compression}`,
    `--snapshot=${snapshot}`,
    // Somebody who alters a table is waited for, and not for ever.
    '--lock-wait-timeout=30s',
    '--no-password',
  ];
  const program = runProgram(programs.pgDump, args, {
    environment: libpqEnvironment(readerUrl, database, 'mesh backup dump'),
    signal,
    code: 'DUMP_FAILED',
  });
  program.stdin.end();
  const content = new Transform({
    transform: (chunk, _, pass) => pass(null, chunk),
    // Its output ends also when it fails.
    flush: (pass) => void program.ended.then(() => pass(), pass),
  });
  program.ended.catch((error) => content.destroy(error));
  content.on('close', () => program.kill());
  program.stdout.pipe(content);
  const read = finished(content, { writable: false });
  read.catch(() => {});
  const done = program.ended.then(() => read);
  done.catch(() => {});
  return { content, done };
}
