import { randomBytes } from 'node:crypto';
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { stackAddresses } from '#testing/config.js';
import { createTestDatabase, type TestDatabase } from '#testing/database.js';
import { waitFor } from '#testing/wait-for.js';
import { Shard } from './shard.js';

let tenant: TestDatabase;
let older: Shard;
let younger: Shard;

/** Two processes' views of one server; the tenant's name is that of a database both can enter. */
beforeAll(async () => {
  tenant = await createTestDatabase('take_over');
  const url = stackAddresses().postgresUrl;
  older = new Shard('older', url, `t${randomBytes(3).toString('hex')}`);
  younger = new Shard('younger', url, older.meshName);
});

afterAll(async () => {
  await Promise.all([older?.close(), younger?.close()]);
  await tenant?.drop();
});

const held = () => {};

test('who comes with a younger lease ends the sessions of the one before, on the server and in the tenant', async () => {
  const goOn = Promise.withResolvers<void>();
  const inTheMiddle = Promise.withResolvers<void>();
  const late: string[] = [];
  const frozen = older.exclusively(
    tenant.name,
    (session) =>
      older.inside(
        tenant.name,
        async (client) => {
          await client.query('CREATE TABLE half_made (n int)');
          await client.query('BEGIN');
          await client.query('INSERT INTO half_made VALUES (1)');
          inTheMiddle.resolve();
          await goOn.promise;
          // Its fence would stop it here; even without one it can do nothing any more.
          await client.query('COMMIT').then(
            () => late.push('committed'),
            () => late.push('refused'),
          );
          await session.query(`COMMENT ON DATABASE "${tenant.name}" IS 'late'`).then(
            () => late.push('commented'),
            () => late.push('refused'),
          );
        },
        held,
      ),
    held,
  );
  frozen.catch(() => {});
  await inTheMiddle.promise;
  const rows = await younger.exclusively(
    tenant.name,
    () =>
      younger.inside(
        tenant.name,
        async (client) => {
          // Waits for whoever holds rows of it.
          await client.query('ALTER TABLE half_made ADD COLUMN m int');
          return (await client.query('SELECT n FROM half_made')).rows;
        },
        held,
      ),
    held,
  );
  expect(rows).toEqual([]);
  goOn.resolve();
  await frozen.catch(() => {});
  expect(late).toEqual(['refused', 'refused']);
});

test('they are ended in the copies of the tenant’s database too, and nowhere else', async () => {
  const [copy, neighbour] = [`${tenant.name}_1`, `${tenant.name}1`];
  try {
    for (const name of [copy, neighbour]) await older.query(`CREATE DATABASE "${name}"`);
    await older.inside(neighbour, (beside) =>
      older
        .inside(copy, async (client) => {
          await younger.exclusively(tenant.name, async () => {}, held);
          await expect(client.query('SELECT 1')).rejects.toThrow();
          await beside.query('SELECT 1');
        })
        .catch((error: Error) => expect(error.message).toMatch(/terminat/i)),
    );
  } finally {
    for (const name of [copy, neighbour]) await older.query(`DROP DATABASE IF EXISTS "${name}" WITH (FORCE)`);
  }
});

test('without a fence the second waits until the first is done', async () => {
  const order: string[] = [];
  const first = Promise.withResolvers<void>();
  const begun = Promise.withResolvers<void>();
  const one = older.exclusively(tenant.name, async () => {
    begun.resolve();
    await first.promise;
    order.push('first');
  });
  await begun.promise;
  const two = younger.exclusively(tenant.name, async () => void order.push('second'));
  await waitFor('the second to wait', async () => {
    const rows = await older.query(`SELECT 1 FROM pg_locks WHERE locktype = 'advisory' AND NOT granted`);
    return rows.length > 0;
  });
  first.resolve();
  await Promise.all([one, two]);
  expect(order).toEqual(['first', 'second']);
});

test('a fence that says no lets no statement through', async () => {
  let held = true;
  const fence = () => {
    if (!held) throw new Error('lost');
  };
  const work = younger.exclusively(
    tenant.name,
    async (session) => {
      held = false;
      await session.query(`COMMENT ON DATABASE "${tenant.name}" IS 'stale'`);
    },
    fence,
  );
  await expect(work).rejects.toThrow('lost');
  const [row] = await younger.query<{ comment: string | null }>(
    `SELECT shobj_description(oid, 'pg_database') AS comment FROM pg_database WHERE datname = $1`,
    [tenant.name],
  );
  expect(row?.comment).not.toBe('stale');
});
