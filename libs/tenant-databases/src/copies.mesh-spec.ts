import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { Client } from 'pg';
import { createTestShard, type TestShard } from '#testing/test-shard.js';
import { copyTenantDatabase, dropTenantDatabase } from './copies.js';
import { cloneTemplate, ensureTenantRole, type Tenant } from './tenant.js';

let server: TestShard;

beforeAll(async () => {
  server = await createTestShard('CREATE TABLE note (text text NOT NULL); CREATE TABLE ir_attachment (id int);');
});
afterAll(() => server?.drop());

const password = 'a-password';

async function newTenant(): Promise<Tenant> {
  const tenant = server.newTenant();
  await ensureTenantRole(server.shard, tenant, { password, connectionLimit: 10 });
  await cloneTemplate(server.shard, tenant, server.template);
  return tenant;
}

async function asTenant<Row>(tenant: Tenant, database: string, sql: string): Promise<Row[]> {
  const client = new Client({ connectionString: server.urlOf(tenant, password, database) });
  await client.connect();
  try {
    return (await client.query(sql)).rows;
  } finally {
    await client.end();
  }
}

const databases = async (tenant: Tenant) =>
  (
    await server.administrate<{ name: string }>(
      'SELECT datname AS name FROM pg_database WHERE starts_with(datname, $1) ORDER BY datname',
      [tenant.name],
    )
  ).map(({ name }) => name.slice(tenant.name.length));

const rights = async (database: string) => {
  const [row] = await server.administrate<{ acl: string[]; allowed: boolean; comment: string }>(
    `SELECT array(SELECT unnest(datacl)::text ORDER BY 1) AS acl, datallowconn AS allowed,
       shobj_description(oid, 'pg_database') AS comment FROM pg_database WHERE datname = $1`,
    [database],
  );
  return row!;
};

test('a copy holds what was in the first, belongs to the tenant in the same way, and goes its own way', async () => {
  const tenant = await newTenant();
  const { name } = tenant;
  await asTenant(tenant, name, `INSERT INTO note VALUES ('before')`);
  const to = `${name}_1`;
  await copyTenantDatabase(server.shard, tenant, { from: name, to });
  expect(await rights(to)).toEqual(await rights(name));
  await asTenant(tenant, to, `INSERT INTO note VALUES ('after')`);
  await asTenant(tenant, to, 'ALTER TABLE note ADD more int');
  expect(await asTenant(tenant, name, 'SELECT * FROM note')).toEqual([{ text: 'before' }]);
  // Asked again it is there already, and is not made anew.
  await copyTenantDatabase(server.shard, tenant, { from: name, to });
  expect(await asTenant(tenant, to, 'SELECT text FROM note ORDER BY 1')).toHaveLength(2);
  await copyTenantDatabase(server.shard, tenant, { from: to, to: `${name}_2` });
  expect(await asTenant(tenant, `${name}_2`, 'SELECT text FROM note')).toHaveLength(2);
});

test('a copying that dies after any of its statements is finished by the next one', async () => {
  const tenant = await newTenant();
  const { name } = tenant;
  await asTenant(tenant, name, `INSERT INTO note VALUES ('kept')`);
  let finished = false;
  let died = 0;
  for (let n = 1; !finished; n += 1) {
    const to = `${name}_${n}`;
    let left = n;
    // The fence is looked at before each statement: here it is where the process dies.
    const dies = () => {
      left -= 1;
      if (left < 0) throw new Error('killed');
    };
    await copyTenantDatabase(server.shard, tenant, { from: name, to }, dies).then(
      () => {
        finished = true;
      },
      (error: Error) => {
        expect(error.message).toBe('killed');
        died += 1;
      },
    );
    await copyTenantDatabase(server.shard, tenant, { from: name, to });
    expect(await rights(to)).toEqual(await rights(name));
    expect(await asTenant(tenant, to, 'SELECT text FROM note')).toEqual([{ text: 'kept' }]);
    await dropTenantDatabase(server.shard, tenant, to);
  }
  // Two looks, CREATE, and six statements that open it, at the least.
  expect(died).toBeGreaterThanOrEqual(9);
});

test('while somebody is connected to what is to be copied it is busy, and there is no copy', async () => {
  const tenant = await newTenant();
  const client = new Client({ connectionString: server.urlOf(tenant, password) });
  await client.connect();
  try {
    await expect(
      copyTenantDatabase(server.shard, tenant, { from: tenant.name, to: `${tenant.name}_1` }),
    ).rejects.toMatchObject({ code: 'SOURCE_BUSY', retryable: true });
  } finally {
    await client.end();
  }
  expect(await databases(tenant)).toEqual(['']);
});

test('who only reads what is to be copied, for a dump, is thrown out', async () => {
  const tenant = await newTenant();
  const url = new URL(server.readerUrl);
  url.pathname = `/${tenant.name}`;
  const reader = new Client({ connectionString: url.toString() });
  const ended = new Promise<void>((resolve) => reader.on('error', () => resolve()));
  await reader.connect();
  await reader.query('BEGIN');
  await copyTenantDatabase(server.shard, tenant, { from: tenant.name, to: `${tenant.name}_1` });
  await ended;
  expect(await databases(tenant)).toEqual(['', '_1']);
});

test('a database is dropped alone, with whoever is connected, and once more without harm', async () => {
  const tenant = await newTenant();
  const { name } = tenant;
  await copyTenantDatabase(server.shard, tenant, { from: name, to: `${name}_1` });
  const client = new Client({ connectionString: server.urlOf(tenant, password, `${name}_1`) });
  client.on('error', () => {});
  await client.connect();
  await dropTenantDatabase(server.shard, tenant, `${name}_1`);
  await client.end().catch(() => {});
  expect(await databases(tenant)).toEqual(['']);
  await dropTenantDatabase(server.shard, tenant, `${name}_1`);
  await asTenant(tenant, name, 'SELECT 1');
});

test('what does not carry the mark of this footprint is neither copied, nor taken for a copy, nor dropped', async () => {
  const tenant = await newTenant();
  const { name } = tenant;
  await server.administrate(`CREATE DATABASE "${name}_7"`);
  const foreign = { code: 'FOREIGN_OBJECT', retryable: false };
  const { shard } = server;
  await expect(copyTenantDatabase(shard, tenant, { from: name, to: `${name}_7` })).rejects.toMatchObject(foreign);
  await expect(copyTenantDatabase(shard, tenant, { from: `${name}_7`, to: `${name}_1` })).rejects.toMatchObject(
    foreign,
  );
  await expect(dropTenantDatabase(shard, tenant, `${name}_7`)).rejects.toMatchObject(foreign);
  const another = { ...tenant, footprintId: 'another' };
  await expect(dropTenantDatabase(shard, another, name)).rejects.toMatchObject(foreign);
  expect(await databases(tenant)).toEqual(['', '_7']);
});

test('a copy of what is not there is none', async () => {
  const tenant = await newTenant();
  const missing = { from: `${tenant.name}_1`, to: `${tenant.name}_2` };
  await expect(copyTenantDatabase(server.shard, tenant, missing)).rejects.toMatchObject({ code: 'SOURCE_MISSING' });
  const nobody = server.newTenant();
  await expect(
    copyTenantDatabase(server.shard, nobody, { from: nobody.name, to: `${nobody.name}_1` }),
  ).rejects.toMatchObject({ code: 'TENANT_MISSING' });
});

test.each(['postgres', '_0', '_01', '_x', '1', '_1_1', '_1\n', '_1"; DROP'])(
  'the name %j is none of a tenant’s databases',
  async (end) => {
    const tenant = server.newTenant();
    const name = end === 'postgres' ? end : `${tenant.name}${end}`;
    const bad = { code: 'BAD_NAME', retryable: false };
    await expect(dropTenantDatabase(server.shard, tenant, name)).rejects.toMatchObject(bad);
    await expect(copyTenantDatabase(server.shard, tenant, { from: tenant.name, to: name })).rejects.toMatchObject(bad);
  },
);
