import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { newId } from '#contracts/index.js';
import { messagingMigrations } from '#messaging/index.js';
import { Database, type Transaction } from '#persistence/index.js';
import { createTestDatabase, type TestDatabase } from '#testing/database.js';
import { EventFeed } from '../application/event-feed.js';
import { gatewayMigrations } from './gateway.migration.js';
import { TimelineRepository } from './timeline.repository.js';

let server: TestDatabase;
/** Two replicas of the gateway. */
let databases: Database[];
let timelines: TimelineRepository[];

beforeAll(async () => {
  server = await createTestDatabase('timeline');
  const open = () =>
    Database.open({
      ...{ url: server.url, schema: server.schema, applicationName: 'timeline spec' },
      migrations: [...messagingMigrations, ...gatewayMigrations],
    });
  databases = [await open(), await open()];
  timelines = databases.map((database) => new TimelineRepository(database));
});
afterAll(async () => {
  await Promise.all(databases?.map((database) => database.close()) ?? []);
  await server?.drop();
});

const record = (tx: Transaction, messageId = newId()) =>
  timelines[0]!.record(tx, {
    ...{ instanceId: newId(), fact: 'instance.ready', at: new Date(), sequence: 1, who: 'provisioner', messageId },
    ...{ summary: 'Ready.', reason: null, fault: null, operationId: newId(), traceId: null, ends: null },
  });

const said = (timeline: TimelineRepository, after: string, upTo: string) => timeline.events(after, upTo, {}, 10_000);

test('a fact whose transaction ends later than those begun after it is behind them, and nobody who went by misses it', async () => {
  const [database, timeline] = [databases[0]!, timelines[0]!];
  const mayCommit = Promise.withResolvers<void>();
  const recorded = Promise.withResolvers<void>();
  const late = newId();
  const slow = database.transaction(async (tx) => {
    await record(tx, late);
    recorded.resolve();
    await mayCommit.promise;
  });
  await recorded.promise;
  await database.transaction((tx) => record(tx));
  const place = await timeline.putInOrder();
  expect(await said(timeline, '0', place)).toHaveLength(1);
  mayCommit.resolve();
  await slow;
  const next = await timeline.putInOrder();
  expect(await said(timeline, place, next)).toHaveLength(1);
});

test('replicas that put facts in order at the same time give each a place of its own, without a gap', async () => {
  const from = await timelines[0]!.putInOrder();
  const writing = Promise.all(Array.from({ length: 200 }, (_, i) => databases[i % 2]!.transaction((tx) => record(tx))));
  const places: string[][] = [[], []];
  let going = true;
  const ordering = timelines.map(async (timeline, i) => {
    while (going) places[i]!.push(await timeline.putInOrder());
  });
  await writing;
  going = false;
  await Promise.all(ordering);
  const last = await timelines[0]!.putInOrder();
  const ids = (await said(timelines[1]!, from, last)).map(({ id }) => Number(id));
  expect(ids).toEqual(Array.from({ length: 200 }, (_, i) => Number(from) + i + 1));
  for (const seen of places) expect(seen.map(Number)).toEqual(seen.map(Number).toSorted((a, b) => a - b));
});

test('while one gives places nobody else does, and whoever asks gets the last one that is sure', async () => {
  const before = await timelines[0]!.putInOrder();
  await databases[0]!.transaction(async (tx) => {
    await tx.query(`SELECT pg_advisory_xact_lock(hashtext('order of events'))`);
    await databases[1]!.transaction((other) => record(other));
    expect(await timelines[1]!.putInOrder()).toBe(before);
  });
  expect(Number(await timelines[1]!.putInOrder())).toBe(Number(before) + 1);
});

test('the same message is recorded once', async () => {
  const messageId = newId();
  for (let i = 0; i < 2; i++) await databases[0]!.transaction((tx) => record(tx, messageId));
  const rows = await databases[0]!.query('SELECT 1 FROM timeline WHERE message_id = $1', [messageId]);
  expect(rows).toHaveLength(1);
});

test('a follower gets what was there and what comes, a page at a time, until the feed is closed', async () => {
  const feed = new EventFeed(timelines[0]!, () => {});
  const before = await feed.newest();
  feed.start();
  await databases[0]!.transaction(async (tx) => {
    for (let i = 0; i < 450; i++) await record(tx);
  });
  const seen: string[] = [];
  for await (const { events } of feed.follow(before, {}, 60_000, new AbortController().signal)) {
    seen.push(...events.map(({ id }) => id));
    if (seen.length === 450) await databases[0]!.transaction((tx) => record(tx));
    if (seen.length === 451) await feed.close();
  }
  expect(new Set(seen).size).toBe(451);
});
