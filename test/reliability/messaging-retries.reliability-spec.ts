import { afterAll, beforeAll, expect, test } from '@jest/globals';

import { controlBroker } from '#local/broker.js';
import { waitFor } from '#testing/wait-for.js';
import { stackEnvironment } from '../e2e/config.js';
import { Actors } from './fixtures/actors.js';

const { MESH_STATE: state } = stackEnvironment();
const facts = 'capacity-planner.facts';
const requests = 'capacity-planner.requests';
let actors: Actors;

/** How soon the broker tries again to bring back what has no queue to go to; three minutes, if nobody says otherwise. */
const bringsBackAfter = (ms: number) =>
  controlBroker(state, ['eval', `application:set_env(rabbit, dead_letter_worker_publisher_confirm_timeout, ${ms}).`]);

beforeAll(async () => {
  await bringsBackAfter(2_000);
  actors = await Actors.start('retries', { levels: '3s,3s,3s', prefetch: 100 });
});
afterAll(async () => {
  await actors?.stop();
  await bringsBackAfter(180_000);
});

test('a queue is deleted while a hundred messages wait for their next try: the other queue has its own back in time, and they come back with their queue', async () => {
  await actors.hearer.tell({ do: 'fail', failing: true });
  await actors.request(100);
  await waitFor('the requests to wait', async () => (await actors.waiting(`${requests}.delay.3s`)) === 100);
  const from = Date.now();
  await actors.talker.tell({ do: 'say together', subjects: actors.subjects, count: 20 });
  await waitFor('the facts to wait', async () => (await actors.waiting(`${facts}.delay.3s`)) === 20);
  await actors.hearer.process.kill();
  await actors.manage((channel) => channel.deleteQueue(requests));
  await waitFor('the facts to be back', async () => (await actors.waiting(facts)) >= 20);
  console.log(`the other queue's: back ${Date.now() - from} ms after they were said, of which 3000 had to be`);
  expect(Date.now() - from).toBeLessThan(6_000);

  await actors.restart('hearer');
  const back = Date.now();
  await waitFor('all of them', async () => (await actors.done()) >= 120);
  console.log(`those of the deleted queue: done ${Date.now() - back} ms after it was there again`);
  expect(await actors.waiting('capacity-planner.parked')).toBe(0);
});
