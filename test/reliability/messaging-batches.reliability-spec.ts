import { afterAll, afterEach, beforeAll, expect, test } from '@jest/globals';
import { newId } from '#contracts/index.js';
import { at, completed, frame, killAt, type Sign, statement } from '#testing/process-kit.js';
import { waitFor } from '#testing/wait-for.js';
import { Actors, evenBooks, type Fact } from './fixtures/actors.js';

const parkedQueue = 'capacity-planner.parked';
const facts = 'capacity-planner.facts';
/** Longer than any wait of a healthy run, so that only what hangs gets there. */
const statementLimitMs = 3_000;
const many = 150;
let actors: Actors;

beforeAll(async () => {
  const levels = '100ms,200ms,400ms,800ms,2s,4s';
  actors = await Actors.start('batches', { statementLimitMs, levels, batches: true });
});
afterAll(() => actors?.stop());
afterEach(async () => expect(await actors.settled(60_000)).toEqual(evenBooks));

const sayTogether = () => actors.talker.tell({ do: 'say together', subjects: actors.subjects, count: many });
/** The moment may never come. */
const happened = (moment: Promise<void>) => waitFor('the moment', () => moment.then(() => true));
const undone = (from: number) =>
  actors.hearer.troubles(from).filter(({ what }) => what === 'batch undone, handled one by one');

const terminated = (behaviour: string): Fact => {
  const [subject, instanceId] = [newId(), newId()];
  const data = { instanceId, approvalId: '1', removed: [behaviour] };
  return { id: newId(), key: 'instance.terminated.v1', subject, sequence: Date.now(), data };
};
const plain = (count: number) => Array.from({ length: count }, () => terminated('plain'));

/** How many rows each transaction of the hearer has written. */
async function sizes(): Promise<number[]> {
  const rows = await actors.sql<{ n: number }>('hearer', 'SELECT count(*)::int AS n FROM effect GROUP BY xmin::text');
  return rows.map(({ n }) => n);
}

test('many facts at once are done in few transactions, each once', async () => {
  await sayTogether();
  expect(await actors.settled()).toEqual(evenBooks);
  const all = await sizes();
  console.log(`${many} facts said together: ${all.length} transactions, the largest of ${Math.max(...all)}`);
  expect(Math.max(...all)).toBeGreaterThan(10);
});

const insert = (): Sign => statement(actors.databaseOf.hearer, 'INSERT INTO effect');
const committed = (): Sign => completed(actors.databaseOf.hearer, 'COMMIT');

test.each<[name: string, signs: () => readonly Sign[], then: 'cut' | undefined]>([
  ['when it has taken them', () => [frame(actors.brokerOf.hearer, 'basic.deliver', 'down')], undefined],
  ['when it has noted them', () => [statement(actors.databaseOf.hearer, 'INSERT INTO heard')], undefined],
  ['in the middle of their effects', () => Array.from({ length: 20 }, insert), undefined],
  [
    'before its COMMIT',
    () => [...Array.from({ length: 20 }, insert), statement(actors.databaseOf.hearer, 'COMMIT')],
    'cut',
  ],
  [
    'after its COMMIT and before its acknowledgements',
    () => [...Array.from({ length: 20 }, insert), committed()],
    undefined,
  ],
  [
    'in its acknowledgements',
    () => [...Array.from({ length: 20 }, insert), committed(), frame(actors.brokerOf.hearer, 'basic.ack')],
    undefined,
  ],
])('the consumer of a batch is killed %s: each effect is there once', async (_, signs, then) => {
  const killed = killAt(actors.hearer.process, signs(), then);
  await sayTogether();
  await happened(killed);
  await actors.restart('hearer');
  expect(await actors.settled(60_000)).toEqual(evenBooks);
});

test('the COMMIT of a batch is never heard of: no effect is doubled, none lost, nothing is parked', async () => {
  const swallowed = at([...Array.from({ length: 20 }, insert), committed()], () => 'cut');
  await sayTogether();
  await happened(swallowed);
});

test('the way to the database goes half-open in the COMMIT of a batch: it does not hang, and all is done once', async () => {
  const proxy = actors.databaseOf.hearer;
  const begun = Date.now();
  const stalled = at([...Array.from({ length: 20 }, insert), statement(proxy, 'COMMIT')], () => {
    proxy.stall(true);
    return undefined;
  });
  try {
    await sayTogether();
    await happened(stalled);
    const given = await waitFor('it to give the connection up', () =>
      actors.hearer
        .troubles(begun)
        .find(({ what, error }) => what === 'message held: the database is away' && error.includes('silent')),
    );
    console.log(`given up after ${given.at - begun} ms, the limit being ${(statementLimitMs * 4) / 3}`);
  } finally {
    proxy.stall(false);
  }
});

test('one of a batch that always fails is parked after exactly seven tries, and disturbs its neighbours once', async () => {
  const [from, before] = [Date.now(), await actors.done()];
  await actors.publish([...plain(60), terminated('throw'), ...plain(60)]);
  await waitFor('it to be parked', async () => (await actors.waiting(parkedQueue)) > 0, { timeoutMs: 60_000 });
  const [message, ...others] = await actors.parked();
  expect(message!.properties.headers).toMatchObject({ 'mesh-attempt': 7, 'mesh-reason': 'exhausted' });
  expect(others).toEqual([]);
  expect(await actors.done()).toBe(before + 120);
  expect(undone(from).length).toBeLessThanOrEqual(1);
  const waits = actors.hearer.troubles(from).filter(({ what }) => what === 'message failed, waits for its next try');
  expect(waits).toHaveLength(6);
});

test('one of a batch that kills its process is parked after it killed five, and none of its neighbours is', async () => {
  const before = await actors.done();
  await actors.publish([...plain(60), terminated('die'), ...plain(60)]);
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
  await waitFor('the neighbours', async () => (await actors.done()) === before + 120);
  const messages = await actors.parked();
  console.log(`poison in a batch: ${deaths} deaths, ${messages.length} parked`);
  expect(messages.map(({ content }) => content.includes('die'))).toEqual([true]);
  expect(messages[0]!.properties.headers).toMatchObject({ 'mesh-reason': 'crashed-consumer', 'mesh-queue': facts });
  expect(deaths).toBe(5);
});

test('a service that is asked to leave finishes the batches it has in hand, and gives none of them back', async () => {
  const before = await actors.done();
  await actors.publish(Array.from({ length: 100 }, () => terminated('slow:5-10')));
  await waitFor('them to be in hand', async () => (await actors.waiting(facts)) === 0);
  const leaving = actors.hearer;
  expect(await leaving.process.stop()).toEqual({ code: 0, signal: null });
  expect(await actors.done()).toBe(before + 100);
  expect(await actors.waiting(facts)).toBe(0);
  await actors.restart('hearer');
});

test('two processes hear in batches under load: they do not lock each other up, and the newest of each subject wins', async () => {
  const from = Date.now();
  const other = await actors.join('hearer');
  const said = { do: 'say', subjects: actors.subjects, count: 3_000, atOnce: 8 } as const;
  await actors.talker.tell(said);
  expect(await actors.settled(60_000)).toEqual(evenBooks);
  const troubles = [...undone(from), ...other.troubles(from)].map(({ what, error }) => `${what}: ${error}`);
  const all = await sizes();
  console.log(`3000 facts, two hearers: ${all.length} transactions with effects, the largest of ${Math.max(...all)}`);
  expect(troubles).toEqual([]);
  expect(await other.process.stop()).toEqual({ code: 0, signal: null });
});
