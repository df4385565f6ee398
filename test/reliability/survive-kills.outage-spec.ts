import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { killProcess, startProcess } from '#local/processes.js';
import { waitFor } from '#testing/wait-for.js';
import { longForm, stackEnvironment } from '../e2e/config.js';
import { TestMesh } from '../e2e/test-mesh.js';
import { allReady, ledger } from './fixtures/mesh-ledger.js';

let mesh: TestMesh;

beforeAll(async () => {
  mesh = await TestMesh.start({ jobLease: '2s' });
});
afterAll(() => mesh?.stop());

test('the API server is killed twice in the middle of a crowd of provisionings and comes back: all Ready, none doubled', async () => {
  const { MESH_STATE } = stackEnvironment();
  const count = longForm() ? 50 : 20;
  const requests = Array.from({ length: count }, (_, i) => mesh.request(`no-api-${i}`));
  await Promise.all(requests.map((request) => mesh.publish(request)));
  const ready = () =>
    requests.filter((request) => mesh.said('instance.ready.v1', request.data.instanceId).length > 0).length;
  const atWork = () => mesh.heard.some((one) => one.key === 'instance.provisioning-progressed.v1');
  for (const [moment, come] of [
    ['one of them at work', atWork],
    ['a fifth of them to be Ready', () => ready() >= count / 5],
  ] as const) {
    await waitFor(moment, come, { timeoutMs: 60_000 });
    await killProcess(MESH_STATE, 'kube-apiserver');
    await startProcess(MESH_STATE, 'kube-apiserver');
  }
  await Promise.all(requests.map((request) => mesh.ready(request.data.instanceId, 120_000)));
  expect(await ledger(mesh, requests)).toEqual(allReady(count));
});
