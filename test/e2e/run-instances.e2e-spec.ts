import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import type { V1Deployment, V1PersistentVolumeClaim, V1Pod } from '@kubernetes/client-node';
import { newId } from '#contracts/index.js';
import type { KubernetesObject } from '#kubernetes/index.js';
import { waitFor } from '#testing/wait-for.js';
import { Lifecycle } from './lifecycle.js';
import { TestMesh } from './test-mesh.js';

let mesh: TestMesh;
let lifecycle: Lifecycle;

beforeAll(async () => {
  mesh = await TestMesh.start({ lifecycle: { MESH_UNKNOWN_FOR: '3s' } });
  lifecycle = new Lifecycle(mesh);
});
afterAll(() => mesh?.stop());

const running = (slug: string, data: Record<string, unknown> = {}) => lifecycle.running(slug, data);
type Ready = Awaited<ReturnType<typeof running>>;

/** As an administrator sees it. */
async function onCluster({ namespace, volumeClaim: name, footprintId }: Ready) {
  const [deployment, route, pods] = await Promise.all([
    mesh.cluster.get<V1Deployment & KubernetesObject>({ kind: 'Deployment', name, namespace }),
    // biome-ignore lint/suspicious/noExplicitAny: a stranger's eyes
    mesh.cluster.get<any>({ kind: 'IngressRoute', name, namespace }),
    mesh.cluster.list<V1Pod & KubernetesObject>('Pod', namespace, `mesh.odoo/footprint=${footprintId}`),
  ]);
  return {
    replicas: deployment?.spec?.replicas,
    leadsTo: route?.spec.routes[0].services[0].name === 'edge' ? 'edge' : 'instance',
    pods: pods.length,
    uids: pods.map((pod) => pod.metadata!.uid),
    secret: deployment?.spec?.template.spec?.volumes?.find((one) => one.secret)?.secret?.secretName,
    memory: deployment?.spec?.template.spec?.containers[0]?.resources?.limits?.memory,
  };
}

const up = { replicas: 1, leadsTo: 'instance', pods: 1 };
const down = { replicas: 0, leadsTo: 'edge', pods: 0 };

test('an instance is born provisioning, and running when it is Ready', async () => {
  const ready = await running('born');
  const states = mesh.said('instance.state-changed.v1', ready.instanceId).map(({ envelope }) => envelope.data);
  expect(states.map(({ state, reason, previous }) => [state, reason, previous])).toEqual([
    ['provisioning', 'requested', undefined],
    ['running', 'ready', 'provisioning'],
  ]);
  const { database, secret, volumeClaim, footprintId, plan, host } = ready;
  expect(states.at(-1)).toMatchObject({ database, secret, volumeClaim, footprintId, plan, host, desired: 'running' });
});

test('stopped means that the pod is gone and the host leads to the edge; started, that it runs and leads there again', async () => {
  const ready = await running('stop-start');
  const stopped = await lifecycle.do('stop', ready.instanceId);
  expect(stopped).toMatchObject({ fact: 'stopped' });
  expect(await onCluster(ready)).toMatchObject(down);
  expect(lifecycle.stateOf(ready.instanceId)).toMatchObject({
    state: 'stopped',
    previous: 'running',
    reason: 'requested',
  });

  expect(await lifecycle.do('start', ready.instanceId)).toMatchObject({ fact: 'started' });
  expect(await onCluster(ready)).toMatchObject(up);
  expect(lifecycle.stateOf(ready.instanceId)).toMatchObject({ state: 'running', reason: 'started' });
});

test('while an operation is under way the state says which, and where it leads', async () => {
  const ready = await running('under-way');
  const operationId = await lifecycle.ask('stop', ready.instanceId);
  await lifecycle.answerTo(operationId);
  const begun = mesh.said('instance.state-changed.v1', ready.instanceId).map(({ envelope }) => envelope.data);
  expect(begun).toContainEqual(
    expect.objectContaining({ state: 'running', desired: 'stopped', operation: { operationId, operation: 'stop' } }),
  );
});

test('a restart is another pod', async () => {
  const ready = await running('restart');
  const before = await onCluster(ready);
  expect(await lifecycle.do('restart', ready.instanceId)).toMatchObject({ fact: 'restarted' });
  const after = await onCluster(ready);
  expect(after).toMatchObject(up);
  expect(after.uids).not.toEqual(before.uids);
});

test('what is suspended only a resume brings back, and it goes back to what its owner had wanted', async () => {
  const [runs, stood] = await Promise.all([running('suspend-a'), running('suspend-b')]);
  await lifecycle.do('stop', stood.instanceId);
  for (const { instanceId } of [runs, stood]) {
    expect(await lifecycle.do('suspend', instanceId, { why: 'unpaid' })).toMatchObject({
      fact: 'suspended',
      why: 'unpaid',
    });
    expect(lifecycle.stateOf(instanceId)).toMatchObject({ state: 'suspended', reason: 'unpaid' });
    expect(await lifecycle.do('start', instanceId)).toMatchObject({ fact: 'operation-refused', code: 'IS_SUSPENDED' });
  }
  expect(await onCluster(runs)).toMatchObject(down);
  expect(await lifecycle.do('resume', runs.instanceId)).toMatchObject({ fact: 'resumed' });
  expect(await onCluster(runs)).toMatchObject(up);
  expect(await lifecycle.do('resume', stood.instanceId)).toMatchObject({ fact: 'resumed' });
  expect(await onCluster(stood)).toMatchObject(down);
  expect(lifecycle.stateOf(stood.instanceId)).toMatchObject({ state: 'stopped' });
});

describe('a resize', () => {
  test('gives plan, Secret, connections and volume in one restart, and keeps the password', async () => {
    const ready = await running('resize', { plan: 'starter' });
    const before = await onCluster(ready);
    const passwordIn = async (name: string) =>
      (
        await mesh.cluster.get<KubernetesObject & { data: Record<string, string> }>({
          kind: 'Secret',
          name,
          namespace: ready.namespace,
        })
      )?.data['database-password'];
    expect(await lifecycle.do('resize', ready.instanceId, { plan: 'business' })).toMatchObject({
      fact: 'resized',
      plan: { name: 'business' },
      previousPlan: { name: 'starter' },
    });
    const after = await onCluster(ready);
    expect(after).toMatchObject({ ...up, memory: '768Mi' });
    expect(before.memory).toBe('512Mi');
    expect([before.secret, after.secret]).toEqual([ready.secret, ready.secret.replace(/v1$/, 'v2')]);
    expect(await passwordIn(after.secret!)).toBe(await passwordIn(before.secret!));
    const [role] = await mesh.sql<{ limit: number }>(`SELECT rolconnlimit AS limit FROM pg_roles WHERE rolname = $1`, [
      ready.role,
    ]);
    expect(role!.limit).toBe(28);
    const claim = { kind: 'PersistentVolumeClaim', name: ready.volumeClaim, namespace: ready.namespace };
    await waitFor('the volume to have grown', async () => {
      const found = await mesh.cluster.get<V1PersistentVolumeClaim & KubernetesObject>(claim);
      return found?.status?.capacity?.storage === String(10 * 1024 ** 3);
    });
    expect(lifecycle.stateOf(ready.instanceId)).toMatchObject({ state: 'running', plan: { name: 'business' } });
  });

  test.each([
    ['to a plan that there is not', 'nonsense', 'UNKNOWN_PLAN'],
    ['to a smaller volume', 'starter', 'STORAGE_CANNOT_SHRINK'],
  ])('%s is refused with the reason', async (_, plan, code) => {
    const ready = await running(`no-resize-${plan}`);
    expect(await lifecycle.do('resize', ready.instanceId, { plan })).toMatchObject({ fact: 'operation-refused', code });
    expect(await onCluster(ready)).toMatchObject({ ...up, secret: ready.secret });
  });
});

test('what is so already is answered at once, and nothing is done', async () => {
  const ready = await running('already');
  const before = await onCluster(ready);
  expect(await lifecycle.do('start', ready.instanceId)).toMatchObject({ fact: 'started', durationMs: 0 });
  expect(await onCluster(ready)).toEqual(before);
});

test('the same request twice is one operation with one answer', async () => {
  const ready = await running('twice');
  const id = await lifecycle.ask('stop', ready.instanceId);
  await lifecycle.ask('stop', ready.instanceId, { id });
  await lifecycle.answerTo(id);
  const later = await lifecycle.do('start', ready.instanceId);
  expect(later).toMatchObject({ fact: 'started' });
  expect(lifecycle.answersTo(id)).toHaveLength(1);
});

test('two that want the same are each answered, by one operation', async () => {
  const ready = await running('merge');
  const time = new Date().toISOString();
  const ids = await Promise.all([
    lifecycle.ask('restart', ready.instanceId, { time }),
    lifecycle.ask('restart', ready.instanceId, { time }),
  ]);
  for (const id of ids) expect(await lifecycle.answerTo(id)).toMatchObject({ fact: 'restarted' });
});

test('a request that is older than the last of its requester is superseded, and another requester is not', async () => {
  const ready = await running('superseded');
  const requestedBy = 'anna';
  await lifecycle.do('stop', ready.instanceId, { requestedBy });
  const time = new Date(Date.now() - 60_000).toISOString();
  expect(await lifecycle.do('start', ready.instanceId, { requestedBy, time })).toMatchObject({
    fact: 'operation-refused',
    code: 'SUPERSEDED',
  });
  expect(lifecycle.stateOf(ready.instanceId)).toMatchObject({ state: 'stopped' });
  expect(await lifecycle.do('start', ready.instanceId, { requestedBy: 'bert', time })).toMatchObject({
    fact: 'started',
  });
});

test('a request for an instance that nobody knows is kept for a while, then refused', async () => {
  expect(await lifecycle.do('stop', newId())).toMatchObject({ fact: 'operation-refused', code: 'UNKNOWN_INSTANCE' });
  const request = mesh.request('early');
  const stop = await lifecycle.ask('stop', request.data.instanceId);
  await mesh.publish(request);
  expect(await lifecycle.answerTo(stop)).toMatchObject({ fact: 'stopped' });
});
