import { afterAll, beforeAll, expect, it } from '@jest/globals';
import { waitFor } from '#testing/wait-for.js';
import { TestMesh } from '../e2e/test-mesh.js';

let mesh: TestMesh;

beforeAll(async () => {
  mesh = await TestMesh.start({ spares: 'business/18.0/apps/en_US=2' });
});
afterAll(async () => {
  await mesh?.stop();
});

const readySpares = () => mesh.heard.filter(({ key }) => key === 'footprint.ready.v1');

it('a customer gets a spare that runs already, and nothing of it restarts', async () => {
  const first = mesh.request('first');
  await mesh.publish(first);
  await mesh.ready(first.data.instanceId);
  await mesh.explained(waitFor('two spares', () => readySpares().length >= 2, { timeoutMs: 60_000 }));

  const request = mesh.request('acme');
  await mesh.publish(request);
  const ready = await mesh.ready(request.data.instanceId);
  expect(ready).toMatchObject({ claim: 'spare', verified: 'http' });
  console.log(JSON.stringify(ready.timings));
});
