import { type ChildProcessByStdio, spawn } from 'node:child_process';
import type { Readable, Writable } from 'node:stream';
import { TenantDatabaseError } from './errors.js';

export interface RunningProgram {
  readonly stdin: Writable;
  readonly stdout: Readable;
  /** Resolves when it has ended well; rejects with why it has not. Nobody has to listen. */
  readonly ended: Promise<void>;
  kill(): void;
}

const keptOfErrors = 8_000;

/**
 * One of PostgreSQL's programs, in a process group of its own, which is killed when `signal` is aborted. What is secret is
 * in its environment alone, never in its arguments, which everybody on the machine can read.
 */
export function runProgram(
  program: string,
  args: readonly string[],
  {
    environment,
    signal,
    code,
  }: {
    readonly environment: Readonly<Record<string, string>>;
    readonly signal?: AbortSignal | undefined;
    /** Of the error when it does not end well. */
    readonly code: TenantDatabaseError['code'];
  },
): RunningProgram {
  signal?.throwIfAborted();
  const child: ChildProcessByStdio<Writable, Readable, Readable> = spawn(program, args, {
    // English, because its words are looked at.
    env: { LC_ALL: 'C', ...environment },
    stdio: ['pipe', 'pipe', 'pipe'],
    detached: true,
  });
  let words = '';
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    words = (words + text).slice(-keptOfErrors);
  });
  const kill = () => {
    // Also of one that has ended: what is unread of its output would keep it from counting as over.
    child.stdout.destroy();
    // The number of one that has ended may be somebody else's by now.
    if (child.exitCode !== null || child.signalCode !== null) return;
    try {
      if (child.pid) process.kill(-child.pid, 'SIGKILL');
    } catch {
      // It is gone already.
    }
  };
  signal?.addEventListener('abort', kill, { once: true });
  const ended = new Promise<void>((resolve, reject) => {
    child.on('error', (error) => reject(new TenantDatabaseError(code, error.message, true)));
    // What is left of its output helps nobody then, and would have to be read before it counts as over.
    child.on('exit', (exitCode) => exitCode !== 0 && child.stdout.destroy());
    child.on('close', (exitCode, killedBy) => {
      signal?.removeEventListener('abort', kill);
      if (signal?.aborted) reject(signal.reason);
      else if (exitCode === 0) resolve();
      else {
        const why = killedBy ? `was ended by ${killedBy}` : `ended with ${exitCode}`;
        const said = errorsIn(words, environment.PGPASSWORD);
        reject(new TenantDatabaseError(code, `${program.split('/').at(-1)} ${why}${said && `: ${said}`}`, true));
      }
    });
  });
  ended.catch(() => {});
  // Who does not read its input any more says why when it ends.
  child.stdin.on('error', () => {});
  return { stdin: child.stdin, stdout: child.stdout, ended, kill };
}

/** The errors, without the details, statements and rows beside them: those are the customer's. */
function errorsIn(words: string, secret: string | undefined): string {
  const errors = words.split('\n').filter((line) => /error:|ERROR:|FATAL:/.test(line));
  const text = errors.slice(0, 3).join('; ').slice(0, 500);
  return secret ? text.replaceAll(secret, '…') : text;
}

/** What libpq has to know to reach the database of this address. */
export function libpqEnvironment(url: string, database: string, application: string): Record<string, string> {
  const { hostname, port, username, password, searchParams } = new URL(url);
  const tls = Object.entries({ sslmode: 'PGSSLMODE', sslrootcert: 'PGSSLROOTCERT' }).flatMap(
    ([parameter, variable]) => {
      const value = searchParams.get(parameter);
      return value === null ? [] : [[variable, value] as const];
    },
  );
  return {
    PGHOST: hostname.replace(/^\[|\]$/g, ''),
    PGPORT: port || '5432',
    PGUSER: decodeURIComponent(username),
    PGPASSWORD: decodeURIComponent(password),
    PGDATABASE: database,
    PGAPPNAME: application,
    PGCONNECT_TIMEOUT: '10',
    // Nobody's own settings.
    PGPASSFILE: '/dev/null',
    PGSERVICEFILE: '/dev/null',
    ...Object.fromEntries(tls),
  };
}
