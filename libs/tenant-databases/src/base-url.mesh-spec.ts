import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { createTestShard, type TestShard } from '#testing/test-shard.js';
import { setBaseUrl } from './base-url.js';
import { copyTenantDatabase } from './copies.js';
import { cloneTemplate, ensureTenantRole, type Tenant } from './tenant.js';

let server: TestShard;

beforeAll(async () => {
  server = await createTestShard(`
    CREATE TABLE ir_config_parameter (id serial PRIMARY KEY, key varchar NOT NULL UNIQUE, value text NOT NULL,
      create_uid int, create_date timestamp, write_uid int, write_date timestamp);
    INSERT INTO ir_config_parameter (key, value) VALUES ('web.base.url', 'http://old.example.com'), ('other', 'kept');
    CREATE SEQUENCE base_cache_signaling_default;
  `);
});
afterAll(() => server?.drop());

async function newTenant(): Promise<Tenant> {
  const tenant = server.newTenant();
  await ensureTenantRole(server.shard, tenant, { password: 'a-password', connectionLimit: 10 });
  await cloneTemplate(server.shard, tenant, server.template);
  return tenant;
}

const url = 'https://new.example.com';

async function seenIn(database: string) {
  const [row] = await server.administrate<{ url: string; parameters: number; cleared: boolean }>(
    `SELECT (SELECT value FROM ir_config_parameter WHERE key = 'web.base.url') AS url,
       (SELECT count(*)::int FROM ir_config_parameter) AS parameters,
       (SELECT is_called FROM base_cache_signaling_default) AS cleared`,
    [],
    database,
  );
  return row!;
}

test('the address of one database is changed, and who runs on it hears that it has to look', async () => {
  const tenant = await newTenant();
  const copy = `${tenant.name}_1`;
  await copyTenantDatabase(server.shard, tenant, { from: tenant.name, to: copy });
  await setBaseUrl(server.shard, tenant, copy, url);
  expect(await seenIn(copy)).toEqual({ url, parameters: 2, cleared: true });
  expect(await seenIn(tenant.name)).toEqual({ url: 'http://old.example.com', parameters: 2, cleared: false });
  await setBaseUrl(server.shard, tenant, copy, url);
  expect(await seenIn(copy)).toEqual({ url, parameters: 2, cleared: true });
});

test('one that dies after any of its statements is finished by the next one', async () => {
  const tenant = await newTenant();
  const at = (n: number) => `https://new-${n}.example.com`;
  let finished = false;
  let died = 0;
  for (let n = 1; !finished; n += 1) {
    let left = n;
    const dies = () => {
      left -= 1;
      if (left < 0) throw new Error('killed');
    };
    try {
      await setBaseUrl(server.shard, tenant, tenant.name, at(n), dies);
      finished = true;
    } catch (error) {
      expect((error as Error).message).toBe('killed');
      died += 1;
    }
    await setBaseUrl(server.shard, tenant, tenant.name, at(n));
    expect(await seenIn(tenant.name)).toEqual({ url: at(n), parameters: 2, cleared: true });
  }
  expect(died).toBeGreaterThan(3);
});

test('nobody else’s database is touched, and one that is not there is told as such', async () => {
  const [tenant, stranger] = [await newTenant(), server.newTenant()];
  const posing = { ...stranger, name: tenant.name };
  await expect(setBaseUrl(server.shard, posing, tenant.name, url)).rejects.toMatchObject({ code: 'FOREIGN_OBJECT' });
  await expect(setBaseUrl(server.shard, tenant, 'postgres', url)).rejects.toMatchObject({ code: 'BAD_NAME' });
  await expect(setBaseUrl(server.shard, tenant, `${tenant.name}_7`, url)).rejects.toMatchObject({
    code: 'DATABASE_MISSING',
  });
  expect(await seenIn(tenant.name)).toMatchObject({ url: 'http://old.example.com', cleared: false });
});
