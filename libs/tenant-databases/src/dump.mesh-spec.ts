import { readdirSync, readFileSync } from 'node:fs';
import { buffer } from 'node:stream/consumers';
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { Client } from 'pg';
import { createTestShard, type TestShard } from '#testing/test-shard.js';
import { waitFor } from '#testing/wait-for.js';
import { dumpDatabase } from './dump.js';
import { differencesOf, type Fingerprint } from './fingerprint.js';
import { findPostgresPrograms, type PostgresPrograms } from './programs.js';
import { readDatabase } from './reading.js';
import { type HeldSnapshot, holdSnapshot } from './snapshot.js';
import { cloneTemplate, ensureTenantRole, type Tenant } from './tenant.js';

const sha1 = (n: number) => n.toString(16).padStart(40, '0');

let server: TestShard;
let programs: PostgresPrograms;

beforeAll(async () => {
  server = await createTestShard(`
    CREATE TABLE note (id serial PRIMARY KEY, text text);
    CREATE TABLE ir_attachment (id serial PRIMARY KEY, url text, store_fname text, file_size int);
    CREATE TABLE ir_module_module (name text, state text, latest_version text);
    INSERT INTO ir_module_module VALUES ('base', 'installed', '18.0.1.3'), ('web', 'installed', '18.0.1.0'), ('crm', 'uninstalled', NULL);
    INSERT INTO note (text) SELECT repeat(md5(n::text), 50) FROM generate_series(1, 5000) n;`);
  programs = await findPostgresPrograms();
});
afterAll(() => server?.drop());

const password = 'a-password';
const longestMs = 60_000;
const never = new AbortController().signal;

async function newTenant(): Promise<Tenant> {
  const tenant = server.newTenant();
  await ensureTenantRole(server.shard, tenant, { password, connectionLimit: 10 });
  await cloneTemplate(server.shard, tenant, server.template);
  return tenant;
}

async function connected(tenant: Tenant): Promise<Client> {
  const client = new Client({ connectionString: server.urlOf(tenant, password) });
  client.on('error', () => {});
  await client.connect();
  return client;
}

async function asTenant<Row>(tenant: Tenant, sql: string): Promise<Row[]> {
  const client = await connected(tenant);
  try {
    return (await client.query(sql)).rows;
  } finally {
    await client.end();
  }
}

const hold = <T>(tenant: Tenant, work: (held: HeldSnapshot) => Promise<T>, options = { longestMs }) =>
  holdSnapshot(server.readerUrl, tenant.name, work, options);

const dump = (tenant: Tenant, { snapshot, signal }: Pick<HeldSnapshot, 'snapshot' | 'signal'>, compression = 1) =>
  dumpDatabase({ readerUrl: server.readerUrl, database: tenant.name, snapshot, signal, programs, compression });

const readersIn = async ({ name }: Tenant, application = 'mesh backup%') =>
  (
    await server.administrate<{ pid: number }>(
      'SELECT pid FROM pg_stat_activity WHERE datname = $1 AND application_name LIKE $2',
      [name, application],
    )
  ).map(({ pid }) => pid);

/** Of the programs of PostgreSQL that this process has started, their ids. */
const runningPrograms = () =>
  readdirSync('/proc').filter((pid) => {
    try {
      return / \(pg_dump\) [^Z] /.test(readFileSync(`/proc/${pid}/stat`, 'utf8')) && parentOf(pid) === process.pid;
    } catch {
      return false;
    }
  });

async function all<T>(some: AsyncIterable<T>): Promise<T[]> {
  const list: T[] = [];
  for await (const one of some) list.push(one);
  return list;
}

const parentOf = (pid: string) => Number(readFileSync(`/proc/${pid}/stat`, 'utf8').split(') ').at(-1)!.split(' ')[1]);

test('what is committed after the snapshot is neither in its fingerprint, nor in its files, nor in its dump', async () => {
  const tenant = await newTenant();
  await asTenant(tenant, `INSERT INTO ir_attachment (store_fname, file_size) VALUES ('00/${sha1(1)}', 7)`);
  const later = 'written after the snapshot';
  const seen = await hold(tenant, async (held) => {
    await asTenant(
      tenant,
      `INSERT INTO note (text) VALUES ('${later}'); INSERT INTO ir_attachment (store_fname) VALUES ('00/${sha1(2)}')`,
    );
    const { content, done } = dump(tenant, held, 0);
    const [bytes] = await Promise.all([buffer(content), done]);
    const files = await all(held.storedFiles());
    return { bytes, files, fingerprint: await held.fingerprint(), held };
  });
  expect(seen.fingerprint.tables.note?.[0]).toBe(5000);
  expect(seen.files).toEqual([{ name: `00/${sha1(1)}`, bytes: 7, checksum: sha1(1), rebuilt: false }]);
  expect(seen.bytes.subarray(0, 5).toString()).toBe('PGDMP');
  expect(seen.bytes.includes(later)).toBe(false);
  expect(seen.held.databaseBytes).toBeGreaterThan(7_000_000);
  expect(seen.held.serverMajor).toBeLessThanOrEqual(programs.major);
  expect(await readersIn(tenant)).toEqual([]);
});

test('one other value, one row more and a table more are found and named', async () => {
  const tenant = await newTenant();
  const look = () => readDatabase(server.readerUrl, tenant.name, (reading) => reading.fingerprint(), { longestMs });
  await asTenant(tenant, `CREATE TABLE odd (tags text[], n int); INSERT INTO odd VALUES ('{a}', 1), ('{b}', 2)`);
  const before = await look();
  expect(differencesOf(before, await look())).toEqual([]);
  await asTenant(
    tenant,
    `UPDATE odd SET tags = '{c}' WHERE n = 2; UPDATE note SET text = 'another' WHERE id = 7;
     INSERT INTO ir_module_module VALUES ('one', 'more'); CREATE TABLE more (n int); DROP TABLE ir_attachment`,
  );
  expect(differencesOf(before, await look())).toEqual([
    'table ir_attachment is missing',
    'table ir_module_module has 4 rows in place of 3',
    'table more is one too many',
    'table note has other values in its 5000 rows',
    'table odd has other values in its 2 rows',
  ]);
});

test('a table out of which all was deleted is as one that never had anything', async () => {
  const tenant = await newTenant();
  await asTenant(
    tenant,
    `CREATE TABLE never (n int); CREATE TABLE emptied (n int);
     INSERT INTO emptied SELECT generate_series(1, 5000); DELETE FROM emptied`,
  );
  const look = (reading: { fingerprint(): Promise<Fingerprint> }) => reading.fingerprint();
  const { tables } = await readDatabase(server.readerUrl, tenant.name, look, { longestMs });
  expect(tables.never).toEqual([0, '0']);
  expect(tables.emptied).toEqual(tables.never);
});

test('a role that is there already gets the new password', async () => {
  const tenant = await newTenant();
  await ensureTenantRole(server.shard, tenant, { password: 'another-password', connectionLimit: 5 });
  await expect(asTenant(tenant, 'SELECT 1')).rejects.toThrow(/password authentication failed/);
});

test('what only bundles of web assets have is made anew by Odoo; a content that an upload has too is not', async () => {
  const tenant = await newTenant();
  const bundle = '/web/assets/1/web.assets_web.min.js';
  await asTenant(
    tenant,
    `INSERT INTO ir_attachment (url, store_fname) VALUES ('${bundle}', '00/${sha1(4)}'), ('${bundle}', '00/${sha1(5)}'),
       (NULL, '00/${sha1(5)}'), ('/web/assets', '00/${sha1(6)}'), ('/web/image/1', '00/${sha1(7)}')`,
  );
  const files = await readDatabase(server.readerUrl, tenant.name, (reading) => all(reading.storedFiles()), {
    longestMs,
  });
  expect(files.map(({ checksum, rebuilt }) => [checksum, rebuilt])).toEqual(
    [4, 5, 6, 7].map((n) => [sha1(n), n === 4]),
  );
});

test('the installed modules say which Odoo it is', async () => {
  const tenant = await newTenant();
  const modules = await readDatabase(server.readerUrl, tenant.name, (reading) => reading.modules(), { longestMs });
  expect(modules).toEqual({
    odooVersion: '18.0',
    modules: [
      { name: 'base', version: '18.0.1.3' },
      { name: 'web', version: '18.0.1.0' },
    ],
  });
});

test('Odoo works on while a snapshot is held, and its garbage collection does not', async () => {
  const tenant = await newTenant();
  const odoo = await connected(tenant);
  try {
    const collect = async () => {
      await odoo.query(`BEGIN; SET LOCAL lock_timeout = '50ms'`);
      await odoo.query('LOCK ir_attachment IN SHARE MODE');
    };
    await hold(tenant, async () => {
      await odoo.query(`INSERT INTO ir_attachment (store_fname) VALUES ('00/${sha1(3)}')`);
      await odoo.query('DELETE FROM ir_attachment');
      await expect(collect()).rejects.toMatchObject({ code: '55P03' });
      await odoo.query('ROLLBACK');
    });
    await waitFor('the lock to be gone', async () => (await readersIn(tenant)).length === 0);
    await collect();
  } finally {
    await odoo.end();
  }
});

test('a dump whose session is ended does not succeed, and its program ends with it', async () => {
  const tenant = await newTenant();
  let aborted: unknown;
  const held = hold(tenant, async ({ snapshot, signal }) => {
    const { content, done } = dump(tenant, { snapshot, signal });
    const read = content[Symbol.asyncIterator]();
    await read.next();
    const [pid] = await readersIn(tenant, 'mesh backup');
    await server.administrate('SELECT pg_terminate_backend($1)', [pid]);
    aborted = await done.catch((error: unknown) => error);
    return 'all is well';
  });
  await expect(held).rejects.toMatchObject({ code: 'SNAPSHOT_LOST', retryable: true });
  expect(aborted).toMatchObject({ code: 'SNAPSHOT_LOST' });
  await waitFor('the program to be gone', () => runningPrograms().length === 0);
});

test('a dump beside which something else has failed does not go on', async () => {
  const tenant = await newTenant();
  const held = hold(tenant, async ({ snapshot, signal }) => {
    // Read so slowly that it would not end by itself.
    await dump(tenant, { snapshot, signal }, 0).content[Symbol.asyncIterator]().next();
    throw new Error('no snapshot of the volume');
  });
  await expect(held).rejects.toThrow('no snapshot of the volume');
  await waitFor('the program to be gone', () => runningPrograms().length === 0);
});

test('work that does not notice that its session was ended has not succeeded either', async () => {
  const tenant = await newTenant();
  const held = hold(tenant, async ({ signal }) => {
    const [pid] = await readersIn(tenant);
    await server.administrate('SELECT pg_terminate_backend($1)', [pid]);
    await waitFor('the signal', () => signal.aborted);
    return 'all is well';
  });
  await expect(held).rejects.toMatchObject({ code: 'SNAPSHOT_LOST' });
});

test.each([
  ['SIGKILL of pg_dump', (pid: number) => process.kill(pid, 'SIGKILL')],
  [
    'the end of its connection',
    async () => {
      await server.administrate(
        `SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'mesh backup dump' AND datname LIKE $1`,
        [`${server.shard.meshName}%`],
      );
    },
  ],
] as const)('%s is an error of the dump and of its content', async (_, end) => {
  const tenant = await newTenant();
  await hold(tenant, async (held) => {
    // Not compressed it is larger than what the pipes hold, so that it cannot be over.
    const { content, done } = dump(tenant, held, 0);
    const read = content[Symbol.asyncIterator]();
    await read.next();
    const [pid] = runningPrograms();
    await end(Number(pid));
    const rest = (async () => {
      while (!(await read.next()).done);
    })();
    const failed = { code: 'DUMP_FAILED', retryable: true };
    await expect(rest).rejects.toMatchObject(failed);
    await expect(done).rejects.toMatchObject(failed);
  });
});

test('a reader that stops ends the dump', async () => {
  const tenant = await newTenant();
  await hold(tenant, async (held) => {
    const { content, done } = dump(tenant, held, 0);
    await content[Symbol.asyncIterator]().next();
    content.destroy();
    await expect(done).rejects.toMatchObject({ code: 'DUMP_FAILED' });
    await waitFor('the program to be gone', () => runningPrograms().length === 0);
  });
});

test('a password is in no argument and in no error', async () => {
  const tenant = await newTenant();
  const secret = new URL(server.readerUrl).password;
  await hold(tenant, async (held) => {
    const { content, done } = dump(tenant, held, 0);
    await content[Symbol.asyncIterator]().next();
    const [pid] = runningPrograms();
    expect(readFileSync(`/proc/${pid}/cmdline`, 'utf8')).toContain('--snapshot=');
    expect(readFileSync(`/proc/${pid}/cmdline`, 'utf8')).not.toContain(secret);
    content.destroy();
    await done.catch(() => {});
    const wrong = new URL(server.readerUrl);
    wrong.password = 'of-nobody';
    const options = { database: tenant.name, snapshot: held.snapshot, signal: never, programs };
    const failed = dumpDatabase({ ...options, readerUrl: wrong.toString() });
    const error = await failed.done.catch((caught: Error) => caught);
    expect(String(error)).toMatch(/pg_dump ended with 1: .*password authentication failed/);
    expect(String(error)).not.toContain('of-nobody');
  });
});

test('a session is given up when it took too long, and when it is told to', async () => {
  const tenant = await newTenant();
  const waits = ({ signal }: HeldSnapshot) => new Promise((resolve) => signal.addEventListener('abort', resolve));
  await expect(hold(tenant, waits, { longestMs: 300 })).rejects.toMatchObject({ code: 'TOOK_TOO_LONG' });
  const stop = new AbortController();
  const told = holdSnapshot(server.readerUrl, tenant.name, waits, { longestMs, signal: stop.signal });
  stop.abort(new Error('the lease is lost'));
  await expect(told).rejects.toThrow('the lease is lost');
  await waitFor('nobody to be left', async () => (await readersIn(tenant)).length === 0);
});

test('what cannot be held says why', async () => {
  const tenant = await newTenant();
  await asTenant(tenant, 'ALTER TABLE ir_attachment RENAME TO something_else');
  const nothing = async () => {};
  await expect(hold(tenant, nothing)).rejects.toMatchObject({ code: 'NOT_ODOO', retryable: false });
  await expect(hold({ ...tenant, name: `${tenant.name}_9` }, nothing)).rejects.toMatchObject({
    code: 'DATABASE_MISSING',
  });
});

test('a tenant cannot read another one, nor can it have its own code run by who reads it', async () => {
  const [one, another] = [await newTenant(), await newTenant()];
  await expect(
    (async () => {
      const client = new Client({ connectionString: server.urlOf(one, password, another.name) });
      client.on('error', () => {});
      await client.connect();
    })(),
  ).rejects.toThrow(/permission denied for database/);
  // What would run as the reader: a cast of a table's rows, a function of a well-known name, a row policy.
  const trap = `LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'run as %', current_user; END $$`;
  await asTenant(
    one,
    `CREATE FUNCTION trap_cast(note) RETURNS text ${trap}; CREATE CAST (note AS text) WITH FUNCTION trap_cast(note);
     CREATE FUNCTION public.format(text, note) RETURNS text ${trap};
     CREATE FUNCTION trap_policy() RETURNS boolean ${trap};
     ALTER TABLE note ENABLE ROW LEVEL SECURITY; CREATE POLICY trap ON note USING (trap_policy());`,
  );
  const { tables } = await hold(one, async (held) => {
    const { content, done } = dump(one, held);
    await Promise.all([buffer(content), done]);
    return await held.fingerprint();
  });
  expect(tables.note?.[0]).toBe(5000);
  await asTenant(
    one,
    'DROP TABLE ir_module_module; CREATE VIEW ir_module_module AS SELECT text AS name, text AS state, text AS latest_version FROM note',
  );
  await expect(hold(one, (held) => held.modules())).rejects.toThrow(/access to non-system view/);
});
