import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { programs } from '#local/mesh-install.js';
import { readTrace, type TraceSpan } from '#local/trace.js';
import { waitFor } from '#testing/wait-for.js';
import { stackEnvironment } from './config.js';
import { Lifecycle } from './lifecycle.js';
import { TestMesh } from './test-mesh.js';

let mesh: TestMesh;
let lifecycle: Lifecycle;
let ready: Awaited<ReturnType<TestMesh['ready']>>;

beforeAll(async () => {
  mesh = await TestMesh.start({ start: programs, traced: true });
  lifecycle = new Lifecycle(mesh);
  const request = mesh.request('traced', { plan: 'starter' });
  await mesh.publish(request);
  ready = await mesh.ready(request.data.instanceId);
  await lifecycle.state(ready.instanceId, 'running');
});
afterAll(() => mesh?.stop());

/** More, and nobody reads it. */
const mostSpans = 120;

function faultsOf(spans: readonly TraceSpan[], operationId: string, stages: readonly string[]): string[] {
  const ids = new Set(spans.map(({ spanId }) => spanId));
  const names = new Set(spans.map(({ name }) => name));
  const wanted = ['process lifecycle.requests', 'reconcile instance', 'process api-gateway.facts', ...stages];
  return [
    ...wanted.filter((name) => !names.has(name)).map((name) => `there is no ${name}`),
    ...spans
      .filter(({ parentId }) => parentId && !ids.has(parentId))
      .map(({ name }) => `nobody saw the parent of ${name}`),
    ...(spans.filter(({ parentId }) => !parentId).length === 1 ? [] : ['it has not one beginning']),
    ...spans
      .filter(({ attributes }) => attributes['operation.id'] !== operationId)
      .map(({ name, attributes }) => `${name} is of operation ${attributes['operation.id']}`),
    ...spans
      .filter(({ attributes }) => (attributes['instance.id'] ?? ready.instanceId) !== ready.instanceId)
      .map(({ name }) => `${name} is of another instance`),
    ...(spans.length > mostSpans ? [`it has ${spans.length} spans`] : []),
  ];
}

const down = ['down: route', 'down: workload'];
const up = ['up: workload', 'up: route'];

/** In this order: each leaves the instance so that the next can be done. */
test.each<[string, object, string, readonly string[]]>([
  ['stop', {}, 'stopped', down],
  ['start', {}, 'running', up],
  ['restart', {}, 'running', [...down, ...up]],
  ['resize', { plan: 'business' }, 'running', ['fit: connections', 'fit: secret', 'fit: volume', ...up]],
  ['suspend', { why: 'unpaid' }, 'suspended', down],
  ['resume', {}, 'running', up],
  [
    'upgrade',
    { to: 'registry.local/odoo:18.0-2' },
    'running',
    [...down, 'fence: database', 'copy: database', 'update: job', 'tidy: jobs', ...up],
  ],
  ['terminate', {}, 'terminating', down],
  ['cancel-termination', {}, 'running', up],
])('%s is one operation, one trace, and a line that says what is so', async (action, more, state, stages) => {
  const { MESH_JAEGER_URL } = stackEnvironment();
  if (!MESH_JAEGER_URL) throw new Error('this test needs Jaeger: run it with npm test -- --lane e2e');
  const path = `/v1/instances/${ready.instanceId}`;
  const body = { reason: 'a test wants it', ...more };
  const { status, body: accepted } = await mesh.api(`${path}/actions/${action}`, { method: 'POST', body });
  expect(status).toBe(202);
  const { operationId } = accepted;
  await lifecycle.answerTo(operationId);

  const operation = await waitFor('the operation to be done', async () => {
    const { body: found } = await mesh.api(`/v1/operations/${operationId}`);
    return found?.state === 'succeeded' ? found : undefined;
  });
  const look = async () => faultsOf(await readTrace(MESH_JAEGER_URL, operation.traceId), operationId, stages);
  await waitFor('its trace to be whole', async () => (await look()).length === 0, { timeoutMs: 20_000 }).catch(
    async (error) => {
      throw new Error(`${error.message.split(';')[0]}: ${(await look()).join('; ')}`);
    },
  );
  const explained = await waitFor('the read model', async () => {
    const { body: said } = await mesh.api(`${path}/explain`);
    return said.state === state ? said : undefined;
  });
  expect(explained.next).toMatch(/\.$/);
  // What its owner wanted waits for nothing.
  if (state === 'suspended' || state === 'terminating') expect(explained.waitsFor).toEqual(expect.any(String));
  else expect(explained.waitsFor).toBeNull();
});
