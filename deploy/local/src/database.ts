import { execFile } from 'node:child_process';
import { chmodSync, chownSync, existsSync, mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { basename, join, resolve } from 'node:path';
import { promisify } from 'node:util';
import pg from 'pg';
import { addresses } from './node/addresses.js';
import type { State } from './state.js';
import { waitForServer } from './wait.js';

/** Where the distribution keeps PostgreSQL. */
export interface DatabaseTools {
  /** The folder of `postgres` and `initdb`, such as /usr/lib/postgresql/15/bin. */
  readonly bin: string;
}

const superuser = 'mesh_admin';

const settings = {
  unix_socket_directories: '',
  max_connections: '400',
  shared_buffers: '256MB',
  // Each tenant database is a copy, and a copy forces a checkpoint; let nothing else ask for more of them.
  max_wal_size: '2GB',
  checkpoint_timeout: '15min',
  // CREATE and DROP DATABASE wait for every log-in under way, also for one whose client was frozen in the middle of it.
  authentication_timeout: '5s',
  log_line_prefix: '%m [%p] %q%u@%d ',
} as const;

/** A machine that loses power loses the test's database with it, and nobody minds. */
const fleeting = { fsync: 'off', synchronous_commit: 'off', full_page_writes: 'off' } as const;

export interface DatabaseOptions {
  /** False: no fsync. */
  readonly durable: boolean;
  /** Pods connect too, to the node's address. */
  readonly forPods: boolean;
}

/**
 * PostgreSQL as a process of ours: own data below `<state>/database`, own port, loopback and password only, superuser
 * `mesh_admin`. Run by root it becomes the user `postgres`, because the server refuses root. Resolves to its URL when it
 * accepts a log-in.
 */
export async function startDatabase(state: State, tools: DatabaseTools, options: DatabaseOptions): Promise<string> {
  const { processes } = state;
  if (!processes.alive('database')) {
    const user = process.getuid?.() === 0 ? userOf('postgres') : undefined;
    const folder = state.path('database');
    mkdirSync(folder, { recursive: true, mode: 0o700 });
    if (user) chownSync(folder, user.uid, user.gid);

    // Data of one major version cannot be read by another.
    const major = basename(resolve(tools.bin, '..'));
    const data = join(folder, `data-${major}`);
    if (!existsSync(data)) await initialise(state, tools, data, user);

    const port = await state.port('database');
    const { listen, clients } = options.forPods
      ? {
          listen: `127.0.0.1,${addresses.node}`,
          clients: ['127.0.0.1/32', addresses.nodeNetwork, addresses.podNetwork],
        }
      : { listen: '127.0.0.1', clients: ['127.0.0.1/32'] };
    const access = join(folder, 'pg_hba.conf');
    writeFileSync(access, clients.map((network) => `host all all ${network} scram-sha-256\n`).join(''));
    if (user) chownSync(access, user.uid, user.gid);
    await processes.start({
      name: 'database',
      command: join(tools.bin, 'postgres'),
      args: [
        '-D',
        data,
        ...Object.entries({
          ...settings,
          ...(options.durable ? {} : fleeting),
          port: String(port),
          listen_addresses: listen,
          hba_file: access,
        }).flatMap(([name, value]) => ['-c', `${name}=${value}`]),
      ],
      env: { PATH: '/usr/bin:/bin', LANG: 'C.UTF-8' },
      cwd: folder,
      user,
      stopSignal: 'SIGINT', // "fast": ends the connections and leaves with a checkpoint
    });
  }
  await waitForServer(processes, 'database', 60_000, () => answers(databaseUrl(state)));
  return databaseUrl(state);
}

export async function stopDatabase(state: State): Promise<void> {
  await state.processes.stop('database', 30_000);
}

function databaseUrl(state: State): string {
  return `postgres://${superuser}:${state.secret('database')}@127.0.0.1:${state.keptPort('database')}/postgres`;
}

type User = { uid: number; gid: number };

/** The data folder appears under its name only when it is complete. */
async function initialise(state: State, tools: DatabaseTools, data: string, user: User | undefined): Promise<void> {
  const unfinished = `${data}.new`;
  const passwordFile = `${data}.password`;
  rmSync(unfinished, { recursive: true, force: true });
  writeFileSync(passwordFile, state.secret('database'), { mode: 0o600 });
  try {
    if (user) chownSync(passwordFile, user.uid, user.gid);
    const args = ['-D', unfinished, '-U', superuser, `--pwfile=${passwordFile}`, '-A', 'scram-sha-256'];
    args.push('-E', 'UTF8', '--locale=C.UTF-8', '--no-instructions');
    await promisify(execFile)(join(tools.bin, 'initdb'), args, { ...user, cwd: state.path('database'), env: {} });
    chmodSync(unfinished, 0o700);
    renameSync(unfinished, data);
  } finally {
    rmSync(passwordFile, { force: true });
  }
}

async function answers(url: string): Promise<boolean> {
  const client = new pg.Client({ connectionString: url, connectionTimeoutMillis: 5_000 });
  client.on('error', () => {});
  try {
    await client.connect();
    return true;
  } finally {
    await client.end();
  }
}

function userOf(name: string): User {
  const line = readFileSync('/etc/passwd', 'utf8')
    .split('\n')
    .find((entry) => entry.startsWith(`${name}:`));
  const [, , uid, gid] = line?.split(':') ?? [];
  if (!uid || !gid) throw new Error(`PostgreSQL refuses to run as root and there is no user ${name} on this machine`);
  return { uid: Number(uid), gid: Number(gid) };
}
