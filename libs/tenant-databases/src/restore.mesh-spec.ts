import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { Readable } from 'node:stream';
import { buffer } from 'node:stream/consumers';
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { Client } from 'pg';
import { createTestShard, type TestShard } from '#testing/test-shard.js';
import { dropTenant, remainsOfTenant } from './drop-tenant.js';
import { dumpDatabase } from './dump.js';
import { makeEmptyDatabase } from './empty-database.js';
import { differencesOf, type Fingerprint } from './fingerprint.js';
import { findPostgresPrograms, type PostgresPrograms } from './programs.js';
import { readDatabase } from './reading.js';
import { listDump, openRestored, type RestoreOptions, restoreTenantDatabase } from './restore.js';
import { holdSnapshot } from './snapshot.js';
import { cloneTemplate, ensureTenantRole, observeTenant, type Tenant } from './tenant.js';

const shape = readFileSync(new URL('../../../deploy/local/template/odoo-shape.sql', import.meta.url), 'utf8');
/** What Odoo's modules make besides, and what a customer may. */
const more = `
  CREATE EXTENSION pg_trgm; CREATE EXTENSION unaccent;
  CREATE INDEX res_partner_name_trgm ON res_partner USING gin (name gin_trgm_ops);
  CREATE TYPE mood AS ENUM ('good', 'bad');
  CREATE TABLE every_kind (id bigserial PRIMARY KEY, at timestamptz, amount numeric, ratio float8, blob bytea, doc jsonb,
    mood mood, span interval, tags text[], gone int, twice numeric GENERATED ALWAYS AS (amount * 2) STORED);
  ALTER TABLE every_kind DROP COLUMN gone;
  INSERT INTO every_kind (at, amount, ratio, blob, doc, mood, span, tags)
    SELECT now(), n / 3.0, n / 7.0::float8, decode(md5(n::text), 'hex'), jsonb_build_object('n', n), 'good', n * '1 hour'::interval, ARRAY['é', NULL]
    FROM generate_series(1, 3000) n;
  CREATE TABLE parted (day date, n int) PARTITION BY RANGE (day);
  CREATE TABLE parted_one PARTITION OF parted FOR VALUES FROM ('2026-01-01') TO ('2027-01-01');
  INSERT INTO parted VALUES ('2026-05-05', 1), ('2026-05-05', 1);
  CREATE SCHEMA customers; CREATE TABLE customers.own (n int); INSERT INTO customers.own VALUES (1);`;

let server: TestShard;
let programs: PostgresPrograms;
let source: Tenant;
let dumped: { bytes: Buffer; fingerprint: Fingerprint };

const password = 'a-password';
const longestMs = 60_000;
const signal = new AbortController().signal;
const mayGoOn = () => {};

beforeAll(async () => {
  server = await createTestShard(shape);
  programs = await findPostgresPrograms();
  source = await newTenant();
  await cloneTemplate(server.shard, source, server.template);
  await asTenant(source, more);
  dumped = await dumpOf(source);
});
afterAll(() => server?.drop());

async function newTenant(): Promise<Tenant> {
  const tenant = server.newTenant();
  await ensureTenantRole(server.shard, tenant, { password, connectionLimit: 10 });
  return tenant;
}

async function newFootprint(): Promise<Tenant> {
  const tenant = await newTenant();
  await makeEmptyDatabase(server.shard, tenant);
  return tenant;
}

async function asTenant<Row>(tenant: Tenant, sql: string): Promise<Row[]> {
  const client = new Client({ connectionString: server.urlOf(tenant, password) });
  client.on('error', () => {});
  await client.connect();
  try {
    return (await client.query(sql)).rows;
  } finally {
    await client.end();
  }
}

function dumpOf({ name: database }: Tenant) {
  const { readerUrl } = server;
  return holdSnapshot(
    readerUrl,
    database,
    async ({ snapshot, signal: held, fingerprint }) => {
      const { content, done } = dumpDatabase({ readerUrl, database, snapshot, signal: held, programs });
      const [bytes] = await Promise.all([buffer(content), done]);
      return { bytes, fingerprint: await fingerprint() };
    },
    { longestMs },
  );
}

const fingerprintOf = ({ name }: Tenant) =>
  readDatabase(server.readerUrl, name, (reading) => reading.fingerprint(), { longestMs });

/** In pieces, as they come from afar. */
const piecesOf = (bytes: Buffer) =>
  Readable.from(
    (function* () {
      for (let at = 0; at < bytes.length; at += 16_384) yield bytes.subarray(at, at + 16_384);
    })(),
  );

const restore = (tenant: Tenant, content: Readable = piecesOf(dumped.bytes), options: Partial<RestoreOptions> = {}) =>
  restoreTenantDatabase(server.shard, tenant, content, mayGoOn, { programs, signal, ...options });

const stateOf = async (tenant: Tenant) => (await observeTenant(server.shard, tenant)).database;

test('what is restored has the same rows and values, and is the tenant’s as any other is', async () => {
  const tenant = await newFootprint();
  expect(await stateOf(tenant)).toBe('empty');
  await expect(asTenant(tenant, 'SELECT 1')).rejects.toThrow();
  await restore(tenant, piecesOf(dumped.bytes), { sha256: createHash('sha256').update(dumped.bytes).digest('hex') });
  expect(await stateOf(tenant)).toBe('filled');
  const restored = await fingerprintOf(tenant);
  expect(differencesOf(dumped.fingerprint, restored)).toEqual([]);
  expect(restored.rows).toBeGreaterThan(3000);
  expect(restored.tables).toMatchObject({
    parted_one: [2, expect.any(String)],
    'customers.own': [1, expect.anything()],
  });
  await expect(asTenant(tenant, 'SELECT 1')).rejects.toThrow(/permission denied for database/);

  await openRestored(server.shard, tenant, mayGoOn);
  await openRestored(server.shard, tenant, mayGoOn);
  expect(await stateOf(tenant)).toBe('owned');
  // Every object is its own, so that Odoo can upgrade it; its sequences go on.
  const strangers = `SELECT c.relname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE n.nspname IN ('public', 'customers') AND c.relowner <> (SELECT oid FROM pg_roles WHERE rolname = current_user)`;
  expect(await asTenant(tenant, strangers)).toEqual([]);
  await asTenant(
    tenant,
    `ALTER TABLE every_kind ADD more int; ALTER TYPE mood ADD VALUE 'fair'; CREATE EXTENSION IF NOT EXISTS fuzzystrmatch;
     INSERT INTO every_kind (amount) VALUES (1); DROP EXTENSION unaccent`,
  );
  const grants = `SELECT has_table_privilege(to_regrole($1), 'public.ir_attachment', 'UPDATE') AS held`;
  expect(await server.administrate(grants, [server.shard.readerGroup], tenant.name)).toEqual([{ held: true }]);
  expect(await dumpOf(tenant)).toMatchObject({
    fingerprint: { tables: { res_lang: dumped.fingerprint.tables.res_lang } },
  });
  const roles = await server.administrate('SELECT 1 FROM pg_roles WHERE rolname = $1', [`${tenant.name}_fill`]);
  expect(roles).toEqual([]);
});

/** Does it again and again, each time with a fence that lets some statements more through, until it ends. */
async function dyingEach(step: number, work: (fence: () => void) => Promise<void>): Promise<number> {
  for (let died = 0; ; died += 1) {
    let left = 1 + died * step;
    const error = await work(() => {
      left -= 1;
      if (left < 0) throw new Error('killed');
    }).catch((caught: Error) => caught);
    if (!error) return died;
    expect(error.message).toBe('killed');
  }
}

test('a restore that dies after any of its statements is begun again and ends well', async () => {
  const tenant = await newFootprint();
  const options = { programs, signal };
  const died = await dyingEach(3, (fence) =>
    restoreTenantDatabase(server.shard, tenant, piecesOf(dumped.bytes), fence, options),
  );
  expect(died).toBeGreaterThan(5);
  expect(differencesOf(dumped.fingerprint, await fingerprintOf(tenant))).toEqual([]);
  expect(await dyingEach(1, (fence) => openRestored(server.shard, tenant, fence))).toBeGreaterThan(10);
  expect(await stateOf(tenant)).toBe('owned');
  expect(differencesOf(dumped.fingerprint, await fingerprintOf(tenant))).toEqual([]);
});

test('a restore that broke in the middle leaves no filled database, and the next one begins with nothing', async () => {
  const tenant = await newFootprint();
  const breaks = Readable.from(
    (async function* () {
      yield dumped.bytes.subarray(0, dumped.bytes.length / 2);
      throw new Error('the store went away');
    })(),
  );
  await expect(restore(tenant, breaks)).rejects.toThrow('the store went away');
  expect(await stateOf(tenant)).toBe('filling');
  await expect(openRestored(server.shard, tenant, mayGoOn)).rejects.toMatchObject({ code: 'NOT_FILLED' });
  await restore(tenant);
  expect(differencesOf(dumped.fingerprint, await fingerprintOf(tenant))).toEqual([]);
});

test.each([
  ['nothing', 0],
  ['a head', 200],
  ['half', 0.5],
  ['all but the last bytes', 0.999],
] as const)('of a dump %s is no dump', async (_, part) => {
  const tenant = await newFootprint();
  const end = part < 1 ? Math.floor(dumped.bytes.length * part) : part;
  await expect(restore(tenant, piecesOf(dumped.bytes.subarray(0, end)))).rejects.toMatchObject({
    code: 'DUMP_UNREADABLE',
    retryable: false,
  });
  expect(await stateOf(tenant)).toBe('filling');
});

test('one flipped byte anywhere is found', async () => {
  const tenant = await newFootprint();
  const sha256 = createHash('sha256').update(dumped.bytes).digest('hex');
  for (const part of [0.02, 0.3, 0.6, 0.95]) {
    const bytes = Buffer.from(dumped.bytes);
    const at = Math.floor(bytes.length * part);
    bytes[at] = bytes[at]! ^ 0x10;
    await expect(restore(tenant, piecesOf(bytes), { sha256 })).rejects.toMatchObject({
      code: expect.stringMatching(/^(DUMP_UNREADABLE|DUMP_CHANGED|RESTORE_FAILED)$/),
    });
    expect(await stateOf(tenant)).toBe('filling');
  }
});

test('a database that was opened to its tenant is never overwritten, nor is anybody else’s', async () => {
  const { rows } = await fingerprintOf(source);
  await expect(restore(source)).rejects.toMatchObject({ code: 'DATABASE_IN_USE', retryable: false });
  await makeEmptyDatabase(server.shard, source);
  await expect(restore({ ...source, footprintId: 'another' })).rejects.toMatchObject({ code: 'FOREIGN_OBJECT' });
  const strange = await newTenant();
  await server.administrate(`CREATE DATABASE "${strange.name}"`);
  await expect(restore(strange)).rejects.toMatchObject({ code: 'FOREIGN_OBJECT' });
  await expect(makeEmptyDatabase(server.shard, strange)).rejects.toMatchObject({ code: 'FOREIGN_OBJECT' });
  await expect(cloneTemplate(server.shard, await newFootprint(), server.template)).rejects.toMatchObject({
    code: 'DATABASE_IN_USE',
  });
  await expect(restore(server.newTenant())).rejects.toMatchObject({ code: 'TENANT_MISSING' });
  expect((await fingerprintOf(source)).rows).toBe(rows);
});

test('what a customer has written runs as nobody who could do anything', async () => {
  const [evil, tenant] = [await newTenant(), await newFootprint()];
  await cloneTemplate(server.shard, evil, server.template);
  await asTenant(
    evil,
    `CREATE TABLE ran_as (who name, may boolean);
     CREATE FUNCTION act(int) RETURNS boolean LANGUAGE plpgsql AS $$ BEGIN
       IF current_database() <> '${evil.name}' THEN
         INSERT INTO public.ran_as SELECT session_user, rolcreaterole OR rolcreatedb OR rolsuper FROM pg_roles WHERE rolname = session_user;
       END IF;
       RETURN true; END $$;
     CREATE TABLE trap (n int CHECK (act(n))); INSERT INTO trap VALUES (1);`,
  );
  const { bytes } = await dumpOf(evil);
  await restore(tenant, piecesOf(bytes));
  await openRestored(server.shard, tenant, mayGoOn);
  expect(await asTenant(tenant, 'SELECT * FROM ran_as')).toEqual([{ who: `${tenant.name}_fill`, may: false }]);
});

test('a lost lease ends the restore, and who was given an older password does not get in', async () => {
  const tenant = await newFootprint();
  let pieces = 0;
  const lost = () => {
    if (pieces > 3) throw new Error('the lease is lost');
  };
  const counted = Readable.from(
    (async function* () {
      for await (const piece of piecesOf(dumped.bytes)) {
        pieces += 1;
        yield piece;
      }
    })(),
  );
  await expect(restoreTenantDatabase(server.shard, tenant, counted, lost, { programs, signal })).rejects.toThrow(
    'the lease is lost',
  );
  const stop = AbortSignal.abort(new Error('told to stop'));
  await expect(restore(tenant, piecesOf(dumped.bytes), { signal: stop })).rejects.toThrow('told to stop');
  await restore(tenant);
});

test('what a footprint leaves is dropped with it, the role that filled it too', async () => {
  const tenant = await newFootprint();
  await restore(tenant);
  await dropTenant(server.shard, tenant);
  expect(await remainsOfTenant(server.shard, tenant)).toEqual({ role: false, databases: [] });
  const left = await server.administrate('SELECT rolname FROM pg_roles WHERE starts_with(rolname, $1)', [tenant.name]);
  expect(left).toEqual([]);
});

test('a dump lists what it holds, and what is none does not', async () => {
  const listed = await listDump(piecesOf(dumped.bytes), { programs });
  expect(listed.entries).toBeGreaterThan(100);
  expect(Number.parseInt(listed.serverVersion!, 10)).toBeLessThanOrEqual(programs.major);
  for (const bytes of [Buffer.alloc(0), Buffer.from('no dump at all'), dumped.bytes.subarray(0, 300)])
    await expect(listDump(piecesOf(bytes), { programs })).rejects.toMatchObject({ code: 'DUMP_UNREADABLE' });
});

test('a dump that breaks off on its way is not called unreadable', async () => {
  const breaks = Readable.from(
    (async function* () {
      yield dumped.bytes.subarray(0, 300);
      throw new Error('the store went away');
    })(),
  );
  await expect(listDump(breaks, { programs })).rejects.toThrow('the store went away');
});
