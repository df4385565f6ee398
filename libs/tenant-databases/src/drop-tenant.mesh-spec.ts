import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { createTestShard, type TestShard } from '#testing/test-shard.js';
import { copyTenantDatabase } from './copies.js';
import { dropTenant, remainsOfTenant } from './drop-tenant.js';
import { cloneTemplate, ensureTenantRole, type Tenant } from './tenant.js';

let server: TestShard;

beforeAll(async () => {
  server = await createTestShard('CREATE TABLE note (text text NOT NULL)');
});
afterAll(() => server?.drop());

async function newTenant(): Promise<Tenant> {
  const tenant = server.newTenant();
  await ensureTenantRole(server.shard, tenant, { password: 'a-password', connectionLimit: 10 });
  await cloneTemplate(server.shard, tenant, server.template);
  return tenant;
}

const left = async ({ name }: Tenant) =>
  (
    await server.administrate<{ name: string }>(
      `SELECT datname AS name FROM pg_database WHERE starts_with(datname, $1)
       UNION ALL SELECT 'role of ' || rolname FROM pg_roles WHERE rolname = $1`,
      [name],
    )
  )
    .map((one) => one.name.replace(name, '*'))
    .sort();

test('all databases of a tenant go with it, whatever is asked for by name, and once more without harm', async () => {
  const tenant = await newTenant();
  const { name } = tenant;
  await copyTenantDatabase(server.shard, tenant, { from: name, to: `${name}_1` });
  await copyTenantDatabase(server.shard, tenant, { from: name, to: `${name}_12` });
  expect(await remainsOfTenant(server.shard, tenant)).toEqual({
    role: true,
    databases: [name, `${name}_1`, `${name}_12`],
  });
  await dropTenant(server.shard, tenant, undefined, [`${name}_12`, `${name}_99`]);
  expect(await left(tenant)).toEqual([]);
  expect(await remainsOfTenant(server.shard, tenant)).toEqual({ role: false, databases: [] });
  await dropTenant(server.shard, tenant);
});

test('a dropping that dies after any of its statements is finished by the next one', async () => {
  let finished = false;
  let died = 0;
  for (let n = 1; !finished; n += 1) {
    const tenant = await newTenant();
    await copyTenantDatabase(server.shard, tenant, { from: tenant.name, to: `${tenant.name}_1` });
    let goOn = n;
    const dies = () => {
      goOn -= 1;
      if (goOn < 0) throw new Error('killed');
    };
    await dropTenant(server.shard, tenant, dies).then(
      () => {
        finished = true;
      },
      (error: Error) => {
        expect(error.message).toBe('killed');
        died += 1;
      },
    );
    await dropTenant(server.shard, tenant);
    expect(await left(tenant)).toEqual([]);
  }
  // Two looks, two statements for each database, and the role, at the least.
  expect(died).toBeGreaterThanOrEqual(7);
});

test('a stranger’s database that was named keeps everything from being dropped; one that was not is passed by', async () => {
  const tenant = await newTenant();
  const strange = `${tenant.name}_3`;
  await server.administrate(`CREATE DATABASE "${strange}"`);
  await expect(dropTenant(server.shard, tenant, undefined, [strange])).rejects.toMatchObject({
    code: 'FOREIGN_OBJECT',
  });
  expect(await left(tenant)).toEqual(['*', '*_3', 'role of *']);
  expect(await remainsOfTenant(server.shard, tenant, [strange])).toEqual({
    role: true,
    databases: [tenant.name, strange],
  });
  await dropTenant(server.shard, tenant);
  expect(await left(tenant)).toEqual(['*_3']);
  expect(await remainsOfTenant(server.shard, tenant)).toEqual({ role: false, databases: [] });
});

test('rights that the role has elsewhere are taken back, and nothing else is touched there', async () => {
  const [tenant, neighbour] = [await newTenant(), await newTenant()];
  await server.administrate(`GRANT CONNECT ON DATABASE "${neighbour.name}" TO "${tenant.name}"`);
  await server.administrate(`GRANT SELECT ON note TO "${tenant.name}"`, [], neighbour.name);
  await server.administrate(`INSERT INTO note VALUES ('a neighbour’s')`, [], neighbour.name);
  await dropTenant(server.shard, tenant);
  expect(await left(tenant)).toEqual([]);
  expect(await server.administrate('SELECT * FROM note', [], neighbour.name)).toEqual([{ text: 'a neighbour’s' }]);
});

test('what the role owns elsewhere is left alone, and it is said where that is', async () => {
  const [tenant, neighbour] = [await newTenant(), await newTenant()];
  await server.administrate(`CREATE TABLE work AS SELECT 'somebody’s' AS of_whom`, [], neighbour.name);
  await server.administrate(`ALTER TABLE work OWNER TO "${tenant.name}"`, [], neighbour.name);
  await expect(dropTenant(server.shard, tenant)).rejects.toMatchObject({
    code: 'ROLE_OWNS_MORE',
    message: expect.stringContaining(neighbour.name),
  });
  expect(await left(tenant)).toEqual(['role of *']);
  expect(await server.administrate('SELECT * FROM work', [], neighbour.name)).toEqual([{ of_whom: 'somebody’s' }]);
  await server.administrate('DROP TABLE work', [], neighbour.name);
  await dropTenant(server.shard, tenant);
  expect(await left(tenant)).toEqual([]);
});
