import { afterAll, beforeAll, expect, it } from '@jest/globals';
import { waitFor } from '#testing/wait-for.js';
import { TestMesh } from './test-mesh.js';

let mesh: TestMesh;

beforeAll(async () => {
  mesh = await TestMesh.start({ start: ['capacity-planner', 'provisioner', 'api-gateway'] });
});
afterAll(async () => {
  await mesh?.stop();
});

it('a cell that an older planner opened has what cells have now, once the planner is started', async () => {
  const request = mesh.request('acme');
  await mesh.publish(request);
  const { namespace } = await mesh.ready(request.data.instanceId);
  const middleware = { kind: 'Middleware', name: 'security-headers', namespace };
  const before = await mesh.cluster.get(middleware);
  expect(before?.metadata?.uid).toBeDefined();

  await mesh.services.stop('capacity-planner');
  await mesh.cluster.delete(middleware, { uid: before!.metadata!.uid! });
  await mesh.services.start('capacity-planner');
  const again = await waitFor('the middleware to be there again', () => mesh.cluster.get(middleware));
  expect(again.metadata?.labels).toEqual(before!.metadata!.labels);
});
