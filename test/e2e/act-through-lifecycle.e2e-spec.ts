import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { waitFor } from '#testing/wait-for.js';
import { TestMesh } from './test-mesh.js';

let mesh: TestMesh;
let instanceId: string;

beforeAll(async () => {
  mesh = await TestMesh.start();
  const request = mesh.request('acting');
  instanceId = request.data.instanceId;
  await mesh.publish(request);
  await mesh.ready(instanceId);
});
afterAll(() => mesh?.stop());

const view = async (path = '') => (await mesh.api(`/v1/instances/${instanceId}${path}`)).body;

async function act(action: string, more: object = {}): Promise<string> {
  const body = { reason: 'a test wants it', ...more };
  const answer = await mesh.api(`/v1/instances/${instanceId}/actions/${action}`, { method: 'POST', body });
  expect(answer.status).toBe(202);
  return answer.body.operationId;
}

const comesTo = (state: string, operationId: string) =>
  mesh.explained(
    waitFor(
      `operation ${operationId} to be ${state}`,
      async () => {
        const { body } = await mesh.api(`/v1/operations/${operationId}`);
        return body.state === state ? body : undefined;
      },
      { timeoutMs: 60_000 },
    ),
  );

const isShown = (expected: object) =>
  waitFor(`the instance to be shown as ${JSON.stringify(expected)}`, async () => {
    const seen = await view();
    return Object.entries(expected).every(([field, value]) => seen[field] === value) ? seen : undefined;
  });

test('an instance is running in the word of lifecycle once it is Ready', async () => {
  const shown = await isShown({ state: 'running', reason: 'ready', operation: null });
  expect(shown).toMatchObject({ desired: 'running', image: expect.any(String), step: 'ready' });
});

test.each([
  ['stop', {}, { state: 'stopped', desired: 'stopped' }],
  ['start', {}, { state: 'running', reason: 'started' }],
  ['restart', {}, { state: 'running', reason: 'restarted' }],
  ['suspend', { why: 'unpaid' }, { state: 'suspended', reason: 'unpaid', desired: 'suspended' }],
  ['resume', {}, { state: 'running', reason: 'resumed' }],
  ['resize', { plan: 'enterprise' }, { state: 'running', plan: 'enterprise' }],
  ['rename', { slug: 'acted-on' }, { state: 'running', reason: 'renamed', slug: 'acted-on' }],
  ['terminate', {}, { state: 'terminating' }],
  ['cancel-termination', {}, { state: 'running', reason: 'termination-cancelled' }],
])('%s is done, and shown', async (action, more, expected) => {
  const operation = await comesTo('succeeded', await act(action, more));
  expect(operation).toMatchObject({ action, instanceId });
  await isShown({ ...expected, operation: null });
  expect(await view('/explain')).toMatchObject({ message: null, next: expect.stringMatching(/\.$/) });
});

test('what cannot be done is refused with a reason, and nothing changes', async () => {
  const operation = await comesTo('refused', await act('resize', { plan: 'no-such-plan' }));
  expect(operation).toMatchObject({ reason: expect.any(String), facts: [{ fact: 'instance.operation-refused' }] });
  expect(await view()).toMatchObject({ state: 'running', plan: 'enterprise' });
});
