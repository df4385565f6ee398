import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { createTestShard, type TestShard } from '#testing/test-shard.js';
import { makeEmptyDatabase } from './empty-database.js';
import { settleFilled, uuidOfFilled } from './settle-filled.js';
import { cloneTemplate, ensureTenantRole, observeTenant, type Tenant } from './tenant.js';

let server: TestShard;

beforeAll(async () => {
  server = await createTestShard(`
    CREATE TABLE ir_config_parameter (id serial PRIMARY KEY, key varchar NOT NULL UNIQUE, value text NOT NULL,
      create_uid int, create_date timestamp, write_uid int, write_date timestamp);
    INSERT INTO ir_config_parameter (key, value)
      VALUES ('web.base.url', 'http://old.example.com'), ('database.uuid', 'of-the-backup');
    CREATE SEQUENCE base_cache_signaling_default;
  `);
});
afterAll(() => server?.drop());

const url = 'https://new.example.com';
const password = 'a-password';

/** As the backup service leaves it. */
async function newTenant(): Promise<Tenant> {
  const tenant = server.newTenant();
  await ensureTenantRole(server.shard, tenant, { password, connectionLimit: 10 });
  await cloneTemplate(server.shard, tenant, server.template);
  return tenant;
}

test('one that was filled from a backup calls itself by its own address from then on, whoever dies', async () => {
  const tenant = await newTenant();
  let died = 0;
  for (let left = 0; ; left += 1) {
    let statements = left;
    const dies = () => {
      statements -= 1;
      if (statements < 0) throw new Error('killed');
    };
    try {
      await settleFilled(server.shard, tenant, password, url, dies);
      break;
    } catch (error) {
      expect((error as Error).message).toBe('killed');
      expect(await observeTenant(server.shard, tenant)).toMatchObject({ database: 'owned' });
      died += 1;
    }
  }
  expect(died).toBeGreaterThan(5);
  expect(await observeTenant(server.shard, tenant)).toMatchObject({ database: 'personal' });
  const settled = await server.administrate(`SELECT key, value FROM ir_config_parameter ORDER BY key`, [], tenant.name);
  expect(settled).toEqual([
    { key: 'database.uuid', value: 'of-the-backup' },
    { key: 'mesh.footprint', value: tenant.footprintId },
    { key: 'web.base.url', value: url },
    { key: 'web.base.url.freeze', value: 'True' },
  ]);
});

test('one that was not opened to its tenant is not settled', async () => {
  const tenant = server.newTenant();
  await makeEmptyDatabase(server.shard, tenant);
  await expect(settleFilled(server.shard, tenant, password, url)).rejects.toMatchObject({ code: 'DATABASE_MISSING' });
  expect(await observeTenant(server.shard, tenant)).toMatchObject({ database: 'empty' });
});

test('what a customer left in there runs with its own rights', async () => {
  const tenant = await newTenant();
  await server.administrate(
    `CREATE TABLE written_by (who text);
     ALTER TABLE written_by OWNER TO "${tenant.name}";
     CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql AS
       $$ BEGIN RESET ROLE; INSERT INTO public.written_by VALUES (current_user); RETURN NEW; END $$;
     CREATE TRIGGER note BEFORE INSERT ON ir_config_parameter FOR EACH ROW EXECUTE FUNCTION note()`,
    [],
    tenant.name,
  );
  await settleFilled(server.shard, tenant, password, url);
  expect(await server.administrate('SELECT DISTINCT who FROM written_by', [], tenant.name)).toEqual([
    { who: tenant.name },
  ]);
  expect(await uuidOfFilled(server.shard, tenant, password)).toBe('of-the-backup');
});
