import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { Client } from 'pg';
import { createTestShard, type TestShard } from '#testing/test-shard.js';
import { connectionsOf, databaseBytes, filestoreBytes, shardBytes } from './shard-load.js';
import { cloneTemplate, ensureTenantRole, type Tenant } from './tenant.js';

let server: TestShard;
const password = 'a-password';

beforeAll(async () => {
  server = await createTestShard(`
    CREATE TABLE note (text text);
    CREATE TABLE ir_attachment (id serial PRIMARY KEY, store_fname text, file_size int)`);
});
afterAll(() => server?.drop());

async function newTenant(sql = ''): Promise<Tenant> {
  const tenant = server.newTenant();
  await ensureTenantRole(server.shard, tenant, { password, connectionLimit: 20 });
  await cloneTemplate(server.shard, tenant, server.template);
  const client = await connected(tenant);
  await client.query(sql);
  await client.end();
  return tenant;
}

async function connected(tenant: Tenant): Promise<Client> {
  const client = new Client({ connectionString: server.urlOf(tenant, password) });
  await client.connect();
  return client;
}

const filesOf = ({ name }: Tenant) => filestoreBytes(server.shard, name);

test('files count once, however many name them; what stands in the database counts not at all', async () => {
  expect(await filesOf(await newTenant())).toBe(0);
  const tenant = await newTenant(`INSERT INTO ir_attachment (store_fname, file_size)
    VALUES ('ab/ab1', 1000), ('ab/ab1', 1000), ('cd/cd1', 500), ('ef/ef1', NULL), (NULL, 70000)`);
  expect(await filesOf(tenant)).toBe(1_500);
});

test.each([
  ['a table that is none', 'NOT_ODOO', 'DROP TABLE ir_attachment'],
  ['one without sizes', 'NOT_ODOO', 'ALTER TABLE ir_attachment DROP file_size'],
  [
    'sizes that are none',
    'BAD_VALUE',
    `ALTER TABLE ir_attachment ALTER file_size TYPE text; INSERT INTO ir_attachment (store_fname, file_size) VALUES ('a', 'x')`,
  ],
])('%s: %s', async (_, code, sql) => {
  await expect(filesOf(await newTenant(sql))).rejects.toMatchObject({ code, retryable: false });
});

test('a view in the table’s place is not evaluated by us', async () => {
  const tenant = await newTenant(`
    CREATE FUNCTION trap() RETURNS int LANGUAGE sql AS $$ INSERT INTO note VALUES (current_user) RETURNING 1 $$;
    ALTER TABLE ir_attachment RENAME TO other;
    CREATE VIEW ir_attachment AS SELECT 'a' AS store_fname, trap() AS file_size`);
  await expect(filesOf(tenant)).rejects.toMatchObject({ code: 'NOT_ODOO' });
  expect(await server.administrate('SELECT * FROM note', [], tenant.name)).toEqual([]);
});

test('a database takes less of a disk than all of them do', async () => {
  const tenant = await newTenant();
  const one = await databaseBytes(server.shard, tenant.name);
  expect(await shardBytes(server.shard)).toBeGreaterThan(2 * one);
});

test('connections are those that a tenant may have, and those that it has', async () => {
  const tenant = await newTenant();
  const before = await connectionsOf(server.shard, tenant.name);
  const sessions = await Promise.all([connected(tenant), connected(tenant), connected(tenant)]);
  const with3 = await connectionsOf(server.shard, tenant.name);
  await Promise.all(sessions.map((one) => one.end()));
  const [{ most }] = (await server.administrate<{ most: number }>(
    `SELECT sum(setting::int)::int AS most FROM (
       SELECT setting FROM pg_settings WHERE name = 'max_connections'
       UNION ALL SELECT '-' || setting FROM pg_settings WHERE name LIKE '%reserved_connections') all_of_them`,
  )) as [{ most: number }];
  expect(before).toMatchObject({ most, ofTenant: 0, tenantLimit: 20 });
  expect(with3).toMatchObject({ most, ofTenant: 3, tenantLimit: 20 });
  expect(with3.taken).toBeGreaterThan(3);
  await expect(connectionsOf(server.shard, 'nobody_s')).rejects.toMatchObject({ code: 'TENANT_MISSING' });
});
