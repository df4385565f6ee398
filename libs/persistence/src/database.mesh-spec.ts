import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { createTestDatabase, type TestDatabase } from '#testing/database.js';
import { TcpProxy } from '#testing/tcp-proxy.js';
import { Database, isUnavailable } from './index.js';

let server: TestDatabase;
let proxy: TcpProxy;
let database: Database;

beforeAll(async () => {
  server = await createTestDatabase('database');
  proxy = await TcpProxy.before(server.url);
  database = await Database.open({
    url: proxy.through(server.url),
    schema: server.schema,
    applicationName: 'database spec',
    migrations: [],
    statementLimitMs: 900,
  });
});
afterAll(async () => {
  await database?.close();
  await proxy?.close();
  await server?.drop();
});

const failureOf = (work: Promise<unknown>) =>
  work.then(
    () => undefined,
    (error) => error,
  );

test('a query on a connection that went half-open fails in the end as unavailable, and the next one has a new connection', async () => {
  await database.query('SELECT 1');
  proxy.stall(true);
  const failure = await failureOf(database.transaction((tx) => tx.query('SELECT 1')));
  proxy.stall(false);
  expect(failure.message).toContain('was silent for 1200 ms');
  expect(isUnavailable(failure)).toBe(true);
  expect(await database.query('SELECT 1 AS one')).toEqual([{ one: 1 }]);
});

test('a connection that is cut between two statements of a transaction counts as unavailable, not as a failure of the work', async () => {
  const failure = await failureOf(
    database.transaction(async (tx) => {
      await tx.query('SELECT 1');
      proxy.cut();
      await failureOf(tx.query('SELECT 1'));
      await tx.query('SELECT 1');
    }),
  );
  expect(isUnavailable(failure)).toBe(true);
});

test('a session that holds a lock ends a query that is not answered', async () => {
  const session = await database.connect(300);
  proxy.stall(true);
  const failure = await failureOf(session.query('SELECT 1'));
  expect(isUnavailable(failure)).toBe(true);
  await session.end();
  proxy.stall(false);
});

test('the server is asked to notice clients that vanished without a word, so that their locks are freed', async () => {
  const session = await database.connect();
  const settings = `SELECT current_setting('tcp_keepalives_idle') AS idle, current_setting('tcp_keepalives_interval') AS interval,
    current_setting('tcp_keepalives_count') AS count, current_setting('tcp_user_timeout') AS unanswered`;
  const expected = [{ idle: '10', interval: '5', count: '3', unanswered: '25000' }];
  expect((await session.query(settings)).rows).toEqual(expected);
  expect(await database.query(settings)).toEqual(expected);
  await session.end();
});
