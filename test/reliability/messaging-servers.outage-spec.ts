import { afterAll, beforeAll, beforeEach, expect, test } from '@jest/globals';
import { controlBroker } from '#local/broker.js';
import { killProcess, Processes, startProcess } from '#local/processes.js';
import { at, statement } from '#testing/process-kit.js';
import { waitFor } from '#testing/wait-for.js';
import { stackEnvironment } from '../e2e/config.js';
import { Actors, evenBooks } from './fixtures/actors.js';

const { MESH_STATE: state } = stackEnvironment();
const stack = new Processes(state);
let actors: Actors;
let load: { end(): Promise<void> };

beforeAll(async () => {
  actors = await Actors.start('servers');
});
afterAll(() => actors?.stop());

beforeEach(async () => {
  const before = await actors.done();
  load = actors.load();
  await waitFor('the load to flow', async () => (await actors.done()) > before + 50);
});

/** The load goes on for a while after the fault, then all of it has to come to its end. */
async function settle(what: string, healed: number): Promise<void> {
  const before = await actors.done();
  await waitFor('the first effect after the fault', async () => (await actors.done()) > before, { timeoutMs: 30_000 });
  const back = Date.now() - healed;
  await load.end();
  expect(await actors.settled()).toEqual(evenBooks);
  console.log(`${what}: ${await actors.told()} said, effects again after ${(back / 1_000).toFixed(1)} s`);
}

test('the broker is killed under load and comes back: nothing is lost', async () => {
  await killProcess(state, 'broker');
  await startProcess(state, 'broker');
  const begun = Date.now();
  await waitFor('the broker', () => actors.waiting('capacity-planner.facts').then(() => true), { timeoutMs: 60_000 });
  console.log(`the broker answers after ${((Date.now() - begun) / 1_000).toFixed(1)} s`);
  await settle('broker killed', Date.now());
});

test('the broker is frozen: both sides notice within three heartbeats, and nothing is lost when it thaws', async () => {
  const broker = stack.pid('broker')!;
  const begun = Date.now();
  process.kill(broker, 'SIGSTOP');
  try {
    const noticed = (role: 'talker' | 'hearer') =>
      waitFor(
        `${role} to notice`,
        () => actors[role].troubles(begun).find(({ what }) => what === 'broker connection broke'),
        { timeoutMs: 16_000 },
      );
    const [talker, hearer] = await Promise.all([noticed('talker'), noticed('hearer')]);
    console.log(`noticed after ${talker.at - begun} and ${hearer.at - begun} ms`);
  } finally {
    process.kill(broker, 'SIGCONT');
  }
  await settle('broker frozen', Date.now());
});

test('the broker takes no messages (memory alarm): work goes on, and what was said meanwhile is sent when it takes them again', async () => {
  const watermark = (share: number) => controlBroker(state, ['set_vm_memory_high_watermark', String(share)]);
  const outbox = async () => (await actors.sql('talker', 'SELECT 1 FROM outbox')).length;
  const [begun, before] = [Date.now(), await actors.told()];
  await watermark(0.0001);
  try {
    await waitFor('the relay to pause', () =>
      actors.talker.troubles(begun).find(({ what }) => what === 'broker blocked publishing'),
    );
    await waitFor('work to go on', async () => (await actors.told()) > before + 400 && (await outbox()) > 300);
    console.log(`alarm: the relay paused, ${(await actors.told()) - before} said since, ${await outbox()} wait`);
  } finally {
    await watermark(0.4);
  }
  await settle('memory alarm', Date.now());
  expect(await outbox()).toBe(0);
});

test('the database server is killed in the middle of a COMMIT and comes back: no event without its state, no state without its event', async () => {
  let killed: Promise<void> | undefined;
  await at([statement(actors.databaseOf.talker, 'COMMIT')], () => {
    killed = killProcess(state, 'database');
    return undefined;
  });
  await killed;
  // Again, because it refuses to start as long as nobody has buried the one before.
  const start = () => startProcess(state, 'database').then(() => actors.told());
  await waitFor('the database', () => start().then(() => true), { timeoutMs: 30_000, intervalMs: 200 });
  await settle('database killed', Date.now());
});
