import { setTimeout as pause } from 'node:timers/promises';
import { afterAll, afterEach, beforeAll, expect, jest, test } from '@jest/globals';
import { controlBroker } from '#local/broker.js';
import { at, frame } from '#testing/process-kit.js';
import { waitFor } from '#testing/wait-for.js';
import { longForm, stackEnvironment } from '../e2e/config.js';
import { Actors, evenBooks } from './fixtures/actors.js';

const { MESH_STATE: state } = stackEnvironment();
const facts = 'capacity-planner.facts';
const requests = 'capacity-planner.requests';
if (longForm()) jest.setTimeout(600_000);
let actors: Actors;

beforeAll(async () => {
  actors = await Actors.start('connections');
});
afterAll(() => actors?.stop());
afterEach(async () => expect(await actors.settled()).toEqual(evenBooks));

const seconds = (since: number) => `${((Date.now() - since) / 1_000).toFixed(1)} s`;
const cutAll = () => Object.values(actors.brokerOf).reduce((sum, proxy) => sum + proxy.cut(), 0);
const channels = async () =>
  (await controlBroker(state, ['-q', 'list_channels', 'vhost'])).split(actors.broker.vhost).length - 1;
const say = (count: number, behaviour = 'plain') =>
  actors.talker.tell({ do: 'say', subjects: actors.subjects, count, behaviour });

/** Says something and waits until it is done. @returns how long that took. */
async function saidAndDone(count = 2, timeoutMs = 30_000): Promise<number> {
  const [before, begun] = [await actors.done(), Date.now()];
  await say(count);
  await waitFor('the effects', async () => (await actors.done()) >= before + count, { timeoutMs });
  return Date.now() - begun;
}

/** Waits for the hearer to tell that a channel broke with this code. @returns when it did. */
async function channelBroke(code: string, from: number): Promise<number> {
  const broken = await waitFor('the channel to be closed', () =>
    actors.hearer.troubles(from).find(({ what, error }) => what === `channel ${facts} broke` && error.includes(code)),
  );
  return broken.at;
}

const neighbourLeft = (from: number) => actors.hearer.troubles(from).some(({ what }) => what.includes(requests));

test('every connection is cut each two seconds under load: nothing is lost and nothing grows', async () => {
  const rounds = longForm() ? 30 : 6;
  await saidAndDone(20);
  const before = await channels();
  const [talker, hearer] = [await actors.talker.figures(), await actors.hearer.figures()];
  const load = actors.load();
  for (let round = 0; round < rounds; round++) {
    const next = Date.now() + 2_000;
    await waitFor('both services to be connected', () =>
      Object.values(actors.brokerOf).every((proxy) => proxy.connections >= 2),
    );
    await waitFor('two seconds', () => Date.now() >= next);
    cutAll();
  }
  await load.end();
  expect(await actors.settled(60_000)).toEqual(evenBooks);
  expect(await channels()).toBe(before);
  for (const [name, figures] of Object.entries({ talker, hearer })) {
    const actor = actors[name as 'talker' | 'hearer'];
    const now = await actor.figures();
    console.log(
      `${rounds} cuts, ${before} channels, ${name}: heap ${figures.heapMiB.toFixed(1)} -> ${now.heapMiB.toFixed(1)} MiB, ` +
        `resources ${figures.resources} -> ${now.resources}, ${await actors.told()} said`,
    );
    expect(now.heapMiB - figures.heapMiB).toBeLessThan(10);
    expect(actor.process.lastLines(2_000)).not.toContain('MaxListeners');
  }
});

test('the connection is cut while the topology is set up, again and again: it consumes when it is let', async () => {
  const proxy = actors.brokerOf.hearer;
  proxy.cut();
  for (let round = 0; round < 3; round++) {
    const inSetUp = at([frame(proxy, 'queue.declare')], () => 'cut');
    await waitFor('another set-up', () => inSetUp.then(() => true));
  }
  const begun = Date.now();
  await saidAndDone();
  console.log(`cut during set-up: consuming and done after ${seconds(begun)}`);
});

test('a channel that the broker closes (404) comes back, and its neighbour never left', async () => {
  await actors.hearer.tell({ do: 'fail', failing: true });
  await actors.manage((channel) => channel.deleteExchange('capacity-planner.facts.delay.200ms'));
  const from = Date.now();
  await say(1);
  const broken = await channelBroke('404', from);
  await actors.hearer.tell({ do: 'fail', failing: false });
  await saidAndDone();
  console.log(`consumer's channel closed: back and done after ${seconds(broken)}`);
  expect(neighbourLeft(from)).toBe(false);
});

test('a relay whose channel the broker closes (404) sends everything when the exchange is there again', async () => {
  await actors.manage((channel) => channel.deleteExchange('mesh.events'));
  const from = Date.now();
  await say(4);
  await waitFor('the relay to notice', () => actors.talker.troubles(from).some(({ error }) => error.includes('404')));
  await actors.redeclare();
  const begun = Date.now();
  expect(await actors.settled()).toEqual(evenBooks);
  console.log(`relay's channel closed: all sent ${seconds(begun)} after the exchange was back`);
});

test('a delivery that the broker waits for too long (406) costs its own channel only, and its effect is there once', async () => {
  const set = (timeout: number, tick: number) =>
    controlBroker(state, [
      'eval',
      `application:set_env(rabbit, consumer_timeout, ${timeout}), application:set_env(rabbit, channel_tick_interval, ${tick}).`,
    ]);
  await set(1_000, 500);
  try {
    // The limit is read when a channel is opened.
    actors.brokerOf.hearer.cut();
    await saidAndDone();
    const from = Date.now();
    await say(1, 'slow:3500-3500');
    const broken = await channelBroke('406', from);
    await set(1_800_000, 60_000);
    await saidAndDone();
    console.log(`delivery not acknowledged in time: back and done after ${seconds(broken)}`);
    expect(neighbourLeft(from)).toBe(false);
  } finally {
    await set(1_800_000, 60_000);
    expect(await actors.settled()).toEqual(evenBooks);
    actors.brokerOf.hearer.cut();
  }
});

test('a queue that is deleted is declared, bound and consumed again', async () => {
  const begun = Date.now();
  await actors.manage((channel) => channel.deleteQueue(facts));
  // A fact that is said before it is bound again is nobody's; that is republishing's business.
  await waitFor('the queue to be consumed', () => actors.isConsumed(facts));
  await saidAndDone();
  console.log(`queue deleted: consumed again and done after ${seconds(begun)}`);
  expect(neighbourLeft(begun)).toBe(false);
});

test('what nobody binds is kept in mesh.unrouted', async () => {
  const before = await actors.waiting('mesh.unrouted');
  await actors.talker.tell({ do: 'say unheard', subject: actors.subjects[0]! });
  await waitFor('one more there', async () => (await actors.waiting('mesh.unrouted')) === before + 1);
});

test('what no wake-up tells the relay of, its next poll finds', async () => {
  // Another process of the service says it, so the one that relays hears of it only by looking.
  const other = await actors.join('talker');
  const delays: number[] = [];
  for (let n = 0; n < 8; n++) {
    const before = await actors.done();
    const begun = Date.now();
    await other.tell({ do: 'say', subjects: actors.subjects, count: 1 });
    await waitFor('the effect', async () => (await actors.done()) > before, { intervalMs: 5 });
    delays.push(Date.now() - begun);
    // Not in step with the poll.
    await pause(Math.random() * 250);
  }
  delays.sort((a, b) => a - b);
  console.log(`without a wake-up: done after ${delays[4]} ms, at most ${delays.at(-1)} ms, the poll being 250 ms`);
});

test('a relay whose session is ended by the server takes its lock again; the one that stands by takes over from a dead one', async () => {
  const end = `SELECT pg_terminate_backend(pid) FROM pg_stat_activity
    WHERE application_name LIKE '%session' AND datname = current_database()`;
  await actors.sql('talker', end);
  await saidAndDone();
  const begun = Date.now();
  const dead = actors.talker;
  await dead.process.kill();
  await actors.restart('talker');
  await saidAndDone();
  console.log(`relay dead: another one's messages are done ${seconds(begun)} later`);
});
