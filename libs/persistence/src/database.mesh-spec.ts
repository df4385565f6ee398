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

test('a prepared statement is planned once for a connection, and answers as any other', async () => {
  const double = 'SELECT $1::int * 2 AS twice';
  const planned = await database.transaction(async (tx) => {
    expect(await tx.queryPrepared(double, [4])).toEqual([{ twice: 8 }]);
    expect(await tx.queryPrepared(double, [5])).toEqual([{ twice: 10 }]);
    return await tx.query(
      'SELECT (generic_plans + custom_plans)::int AS runs FROM pg_prepared_statements WHERE statement = $1',
      [double],
    );
  });
  expect(planned).toEqual([{ runs: 2 }]);
});

test('a prepared statement whose table got a column meanwhile goes on: an older version runs beside the newer one', async () => {
  await database.query('CREATE TABLE growing (id int PRIMARY KEY, word text)');
  const insert = 'INSERT INTO growing (id, word) VALUES ($1, $2) RETURNING id';
  const add = (id: number) => database.transaction((tx) => tx.queryPrepared(insert, [id, 'word']));
  // The pool hands out the same connection to whoever comes alone.
  for (let id = 0; id < 8; id++) await add(id);
  await database.query('ALTER TABLE growing ADD more text');
  expect(await add(8)).toEqual([{ id: 8 }]);
});

test('a prepared statement that fails undoes the transaction, says why, and does the next time', async () => {
  await database.query('CREATE TABLE once (id int PRIMARY KEY)');
  const insert = 'INSERT INTO once (id) VALUES ($1)';
  const twice = (first: number, second: number) =>
    database.transaction(async (tx) => {
      await tx.queryPrepared(insert, [first]);
      await tx.queryPrepared(insert, [second]);
    });
  expect(await failureOf(twice(1, 1))).toMatchObject({ name: 'QueryFailedError', code: '23505' });
  expect(await database.query('SELECT id FROM once')).toEqual([]);
  await twice(1, 2);
  expect(await database.query('SELECT id FROM once ORDER BY id')).toEqual([{ id: 1 }, { id: 2 }]);
});

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

test('the same holds for a prepared statement', async () => {
  const prepared = 'SELECT 2';
  const failure = await failureOf(
    database.transaction(async (tx) => {
      await tx.queryPrepared(prepared);
      proxy.cut();
      await failureOf(tx.queryPrepared(prepared));
      await tx.queryPrepared(prepared);
    }),
  );
  expect(isUnavailable(failure)).toBe(true);
  expect(await database.transaction((tx) => tx.queryPrepared('SELECT 2 AS two'))).toEqual([{ two: 2 }]);
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
