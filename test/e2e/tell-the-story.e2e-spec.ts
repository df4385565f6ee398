import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { newId } from '#contracts/index.js';
import { waitFor } from '#testing/wait-for.js';
import { TestMesh } from './test-mesh.js';

let mesh: TestMesh;

beforeAll(async () => {
  mesh = await TestMesh.start({ placesPerCell: 2, maxCells: 1 });
});
afterAll(() => mesh?.stop());

type Entry = { id: string; fact: string; summary: string; reason: string | null; traceId: string; operationId: string };

const timeline = async (instanceId: string, query = ''): Promise<{ items: Entry[]; next: string | null }> =>
  (await mesh.api(`/v1/instances/${instanceId}/timeline${query}`)).body;

const made = [
  'instance.placed',
  'instance.provisioning-started',
  ...Array(6).fill('instance.provisioning-progressed'),
  'instance.ready',
];

/** Waits have lines of their own, and how many there are is the cluster's affair; lifecycle's have reasons too. */
const withoutWaits = (items: readonly Entry[]) => items.filter(({ reason }) => !reason).map(({ fact }) => fact);

test('the timeline of an instance has every fact, in order, under the trace and the operation of its request', async () => {
  const traceId = '4bf92f3577b34da6a3ce929d0e0e4736';
  const request = mesh.request('story', {}, { traceparent: `00-${traceId}-00f067aa0ba902b7-01` });
  await mesh.publish(request);
  await mesh.ready(request.data.instanceId);
  const items = await waitFor('the whole story', async () => {
    const page = await timeline(request.data.instanceId);
    return page.items.some(({ summary }) => summary === 'It is running: ready.') ? page.items : undefined;
  });
  expect(withoutWaits(items)).toEqual(made);
  const ofLifecycle = items.filter(({ fact }) => fact === 'instance.state-changed').map(({ summary }) => summary);
  expect(ofLifecycle).toEqual(['It is provisioning: requested.', 'It is running: ready.']);
  expect(new Set(items.map((one) => one.traceId))).toEqual(new Set([traceId]));
  expect(new Set(items.map((one) => one.operationId))).toEqual(new Set([request.id]));
  expect(items.find(({ fact }) => fact === 'instance.placed')!.summary).toBe(
    'Accepted: story.localhost in cell c0, database on local.',
  );

  const paged: Entry[] = [];
  for (let after: string | null = null; ; ) {
    const page: Awaited<ReturnType<typeof timeline>> = await timeline(
      request.data.instanceId,
      `?limit=4${after ? `&after=${after}` : ''}`,
    );
    paged.push(...page.items);
    after = page.next;
    if (!after) break;
  }
  expect(paged).toEqual(items);

  const operation = await mesh.api(`/v1/operations/${request.id}`);
  expect(operation.body).toMatchObject({ instanceId: request.data.instanceId, state: 'succeeded', traceId });
  expect((await mesh.api(`/v1/instances/${request.data.instanceId}/explain`)).body).toMatchObject({
    ...{ state: 'running', waitsFor: null, fault: null },
  });
});

test('a refusal is the operation’s end, and explained as the asker’s turn', async () => {
  const request = mesh.request('admin');
  await mesh.publish(request);
  await mesh.refused(request.id);
  const operation = await waitFor('the operation to end', async () => {
    const { body } = await mesh.api(`/v1/operations/${request.id}`);
    return body.state === 'refused' && body;
  });
  expect(operation).toMatchObject({ instanceId: request.data.instanceId, reason: 'slug-reserved' });
  const { body } = await mesh.api(`/v1/instances/${request.data.instanceId}/explain`);
  expect(body).toMatchObject({ state: 'refused', reason: 'slug-reserved', fault: 'user' });
});

test('one that waits for room says so, since when, and whose turn it is', async () => {
  const requests = [mesh.request('fills-it'), mesh.request('waits')];
  for (const request of requests) await mesh.publish(request);
  const { instanceId } = requests[1]!.data;
  const waiting = await waitFor('it to wait', async () => {
    const { body } = await mesh.api(`/v1/instances/${instanceId}/explain`);
    return body.reason === 'AllCellsFull' && body;
  });
  expect(waiting).toMatchObject({ state: 'waiting', fault: 'platform', waitsFor: expect.stringContaining('cells') });
  expect(Date.parse(waiting.since)).toBeLessThanOrEqual(Date.now());
  const { body } = await mesh.api(`/v1/operations/${requests[1]!.id}`);
  expect(body).toMatchObject({ state: 'pending', reason: 'AllCellsFull' });
});

test.each([
  ['an operation nobody knows', `/v1/operations/${newId()}`],
  ['the timeline of nobody', `/v1/instances/${newId()}/timeline`],
  ['why nobody waits', `/v1/instances/${newId()}/explain`],
])('%s is not found', async (_, path) => {
  expect(await mesh.api(path)).toMatchObject({ status: 404, body: { code: expect.stringContaining('unknown') } });
});
