import { afterAll, beforeAll, expect, it } from '@jest/globals';
import { TestMesh } from '../e2e/test-mesh.js';

let mesh: TestMesh;

beforeAll(async () => {
  mesh = await TestMesh.start();
});
afterAll(async () => {
  await mesh?.stop();
});

it('an instance is Ready when its log-in page is answered at its host', async () => {
  const request = mesh.request('acme');
  await mesh.publish(request);
  const ready = await mesh.ready(request.data.instanceId);
  expect(ready.verified).toBe('http');
  console.log(JSON.stringify(ready.timings));
});
