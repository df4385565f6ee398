import { afterAll, afterEach, beforeAll, expect, jest, test } from '@jest/globals';
import { newId } from '#contracts/index.js';
import { waitFor } from '#testing/wait-for.js';
import { longForm } from '../e2e/config.js';
import { Actors, evenBooks } from './fixtures/actors.js';

const parkedQueue = 'capacity-planner.parked';
const facts = 'capacity-planner.facts';
const requests = 'capacity-planner.requests';
if (longForm()) jest.setTimeout(600_000);
let actors: Actors;

beforeAll(async () => {
  actors = await Actors.start('poison', { levels: '100ms,200ms,400ms,800ms,2s,4s', prefetch: 50 });
});
afterAll(() => actors?.stop());
afterEach(async () => expect(await actors.settled(60_000)).toEqual(evenBooks));

const say = (count: number, behaviour = 'plain', everyMs = 0) =>
  actors.talker.tell({ do: 'say', subjects: actors.subjects, count, behaviour, everyMs });

const terminated = (behaviour: string, more: object = {}) => ({
  id: newId(),
  key: 'instance.terminated.v1',
  subject: newId(),
  sequence: Date.now(),
  data: { instanceId: newId(), approvalId: '1', removed: [behaviour] },
  ...more,
});

/** Takes `count` parked messages. */
const parked = async (count: number, timeoutMs = 60_000) => {
  await waitFor(`${count} parked`, async () => (await actors.waiting(parkedQueue)) >= count, { timeoutMs });
  return await actors.parked();
};

/** Says `count` plain messages, one each few milliseconds. @returns how long they took, sorted, in milliseconds. */
async function latencies(count: number): Promise<number[]> {
  const [{ seq }] = (await actors.sql<{ seq: number }>(
    'hearer',
    'SELECT coalesce(max(seq), 0) AS seq FROM effect',
  )) as [{ seq: number }];
  const from = new Date();
  await say(count, 'plain', 5);
  const done = await waitFor(
    'them to be done',
    async () => {
      const rows = await actors.sql<{ id: string; at: Date }>(
        'hearer',
        `SELECT id, at FROM effect WHERE seq > $1 AND kind IN ('every', 'newest')`,
        [seq],
      );
      return rows.length >= count ? rows : undefined;
    },
    { timeoutMs: 60_000 },
  );
  const told = await actors.sql<{ id: string; at: Date }>('talker', 'SELECT id, at FROM told WHERE at >= $1', [from]);
  const at = new Map(told.map((one) => [one.id, one.at.getTime()]));
  return done
    .filter(({ id }) => at.has(id))
    .map((one) => one.at.getTime() - at.get(one.id)!)
    .sort((a, b) => a - b);
}

const percentile = (sorted: readonly number[], share: number) => sorted[Math.floor(sorted.length * share)]!;

test('messages that nobody can handle are parked after exactly seven tries, and their neighbours take no more than twice as long', async () => {
  await latencies(200); // warm
  const before = await latencies(400);
  const from = Date.now();
  const poison = 20;
  await actors.publish(Array.from({ length: poison }, () => terminated('throw')));
  const meanwhile = await latencies(400);
  const messages = await parked(poison);
  expect(messages).toHaveLength(poison);
  for (const { properties } of messages) {
    expect(properties.headers).toMatchObject({ 'mesh-attempt': 7, 'mesh-reason': 'exhausted', 'mesh-queue': facts });
    expect(properties.headers!['mesh-error']).toContain('the world is away');
  }
  const waited = actors.hearer.troubles(from).filter(({ what }) => what === 'message failed, waits for its next try');
  expect(waited).toHaveLength(6 * poison);
  const ratio = percentile(meanwhile, 0.5) / Math.max(1, percentile(before, 0.5));
  console.log(
    `neighbours of ${poison} poisonous messages: median ${percentile(before, 0.5)} -> ${percentile(meanwhile, 0.5)} ms, ` +
      `99 of 100 ${percentile(before, 0.99)} -> ${percentile(meanwhile, 0.99)} ms`,
  );
  expect(ratio).toBeLessThan(2.5);
});

test('a body that cannot be read, and a type of another major version, are parked at once with the reason', async () => {
  const from = Date.now();
  await actors.publish([
    terminated('plain', { data: { instanceId: 'seven' } }),
    terminated('plain', { more: { type: 'mesh.instance.terminated.v2' } }),
    terminated('plain', { more: { specversion: '9' } }),
  ]);
  const messages = await parked(3);
  const reasons = messages.map(({ properties }) => properties.headers!['mesh-reason']).sort();
  expect(reasons).toEqual(['broken-data', 'broken-envelope', 'unknown-type']);
  expect(actors.hearer.troubles(from).every(({ what }) => what === 'message parked')).toBe(true);
});

test('a message that kills its process is parked after it killed five, and none of its neighbours is', async () => {
  const [done, begun] = [await actors.done(), Date.now()];
  const before = 15;
  await actors.publish([
    ...Array.from({ length: before }, () => terminated('slow:20-20')),
    terminated('die'),
    ...Array.from({ length: 60 }, () => terminated('slow:20-20')),
  ]);
  let deaths = 0;
  while ((await actors.waiting(parkedQueue)) === 0) {
    const end = await waitFor('its death or the end', async () =>
      !actors.hearer.process.alive ? 'dead' : (await actors.waiting(parkedQueue)) > 0 ? 'parked' : undefined,
    );
    if (end === 'parked') break;
    deaths += 1;
    expect(deaths).toBeLessThan(30);
    await actors.restart('hearer');
  }
  await waitFor('the neighbours', async () => (await actors.done()) === done + before + 60);
  const messages = await parked(1);
  console.log(
    `poison that kills: ${deaths} deaths, ${messages.length} parked after ${((Date.now() - begun) / 1_000).toFixed(1)} s`,
  );
  expect(messages.map(({ content }) => content.includes('die'))).toEqual([true]);
  expect(messages[0]!.properties.headers).toMatchObject({ 'mesh-reason': 'crashed-consumer', 'mesh-queue': facts });
  expect(deaths).toBe(5);
});

test('many messages fail at once while the world is away: all are done when it is back, none was parked early', async () => {
  const count = longForm() ? 10_000 : 1_000;
  await actors.hearer.tell({ do: 'fail', failing: true });
  const begun = Date.now();
  await actors.talker.tell({ do: 'say together', subjects: actors.subjects, count });
  const retried = () =>
    actors.hearer.troubles(begun).filter(({ what }) => what === 'message failed, waits for its next try').length;
  await waitFor('each of them to have failed', () => retried() >= count, { timeoutMs: 300_000 });
  await actors.hearer.tell({ do: 'fail', failing: false });
  const healed = new Date();
  expect(await actors.settled(200_000)).toEqual(evenBooks);
  const perSecond = await actors.sql<{ n: number }>(
    'hearer',
    `SELECT count(*)::int AS n FROM effect WHERE at >= $1 GROUP BY date_trunc('second', at) ORDER BY 1 DESC`,
    [healed],
  );
  console.log(
    `${count} failed at once (${retried()} times): all done in ${perSecond.length} s after the world was back, ` +
      `at most ${perSecond[0]!.n} in a second`,
  );
});

test('a service that is asked to leave finishes the fifty messages it has, takes no other, and gives none back', async () => {
  const [first, second] = longForm() ? [1_000, 5_000] : [500, 2_000];
  const [inHand, more] = [50, 30];
  const before = await actors.done();
  const leaving = actors.hearer;
  // Of one queue: the other has fifty places of its own.
  await actors.publish(Array.from({ length: inHand + more }, () => terminated(`slow:${first}-${second}`)));
  await waitFor('fifty at work', async () => (await actors.waiting(facts)) === more);
  const begun = Date.now();
  const end = await leaving.process.stop();
  console.log(`left after ${Date.now() - begun} ms with fifty messages at work of ${first} to ${second} ms`);
  expect(end).toEqual({ code: 0, signal: null });
  expect(await actors.waiting(facts)).toBe(more);
  expect(await actors.done()).toBe(before + inHand);
  await actors.restart('hearer');
  await waitFor('the others', async () => (await actors.done()) === before + inHand + more);
  const [{ pids }] = (await actors.sql<{ pids: number }>(
    'hearer',
    `SELECT count(DISTINCT id)::int AS pids FROM effect WHERE pid = $1 AND kind = 'every'`,
    [leaving.process.pid],
  )) as [{ pids: number }];
  expect(pids).toBeGreaterThanOrEqual(inHand);
  expect(await actors.waiting(requests)).toBe(0);
});
