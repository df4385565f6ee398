import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { Client } from 'pg';
import { Database } from '#persistence/index.js';
import { createTestDatabase, type TestDatabase } from '#testing/database.js';
import { waitFor } from '#testing/wait-for.js';
import { messagingMigrations } from './messaging.migration.js';
import { RelayLock } from './relay-lock.js';

let server: TestDatabase;
let database: Database;

beforeAll(async () => {
  server = await createTestDatabase('relay_lock');
  database = await Database.open({
    url: server.url,
    schema: server.schema,
    applicationName: 'relay lock spec',
    migrations: messagingMigrations,
  });
});
afterAll(async () => {
  await database?.close();
  await server?.drop();
});

test('of two processes one relays; when it dies the other one does at once', async () => {
  const [first, second] = [new RelayLock(database, () => {}), new RelayLock(database, () => {})];
  expect(await first.held()).toBe(true);
  expect(await second.held()).toBe(false);
  await first.release();
  expect(await second.held()).toBe(true);
  await second.release();
});

test('one that holds the lock and is not heard any more has its session ended', async () => {
  // As a process that was stopped: its connection stands, and nothing comes.
  const silent = new Client({ connectionString: server.url, options: `-c search_path=${server.schema}` });
  const ended = new Promise((resolve) => silent.once('end', resolve));
  silent.on('error', () => {});
  await silent.connect();
  const { rows } = await silent.query(
    `SELECT pg_try_advisory_lock(hashtext('outbox relay'), hashtext(current_schema())) AS held`,
  );
  expect(rows).toEqual([{ held: true }]);

  const told: string[] = [];
  const waiting = new RelayLock(database, (what) => void told.push(what));
  await waitFor('the lock', () => waiting.held(), { timeoutMs: 30_000, intervalMs: 250 });
  await ended;
  expect(told).toEqual(['outbox taken over']);
  await waiting.release();
});
