import { setTimeout as pause } from 'node:timers/promises';
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import type { V1PersistentVolume } from '@kubernetes/client-node';
import type { KubernetesObject } from '#kubernetes/index.js';
import { footprintNames } from '#odoo/index.js';
import { waitFor } from '#testing/wait-for.js';
import { TestMesh } from './test-mesh.js';

let mesh: TestMesh;

beforeAll(async () => {
  // Some of the instances claim a spare, some are made anew.
  mesh = await TestMesh.start({ spares: 'business/18.0/apps/en_US=1' });
});
afterAll(() => mesh?.stop());

const key = 'instance.provisioning-cancel-requested.v1';

const cancelRequest = (instanceId: string) => mesh.lifecycleRequest(key, { instanceId, reason: 'not wanted any more' });

async function cancel(instanceId: string) {
  const request = cancelRequest(instanceId);
  await mesh.publish(request, { key, as: 'lifecycle' });
  return request;
}

const cancelled = (instanceId: string) => mesh.said('instance.provisioning-cancelled.v1', instanceId);
const ready = (instanceId: string) => mesh.said('instance.ready.v1', instanceId);

async function terminated(instanceId: string) {
  const said = () => mesh.said('instance.terminated.v1', instanceId)[0];
  return (await mesh.explained(waitFor('the end', said, { timeoutMs: 90_000 }))).envelope.data;
}

async function expectNothingLeft(instanceId: string): Promise<void> {
  const { namespace, footprintId } = mesh.said('instance.placed.v1', instanceId)[0]!.envelope.data;
  const names = footprintNames(mesh.name, footprintId);
  expect(
    await mesh.sql(
      `SELECT datname AS name FROM pg_database WHERE starts_with(datname, $1)
       UNION ALL SELECT rolname FROM pg_roles WHERE starts_with(rolname, $1)`,
      [names.database],
    ),
  ).toEqual([]);
  for (const kind of ['Deployment', 'Service', 'IngressRoute', 'PersistentVolumeClaim'])
    expect(await mesh.cluster.get({ kind, name: names.object, namespace })).toBeUndefined();
  expect(await mesh.cluster.get({ kind: 'Secret', name: names.secret, namespace })).toBeUndefined();
  await waitFor('the volume to be gone', async () => {
    const volumes = await mesh.cluster.list<V1PersistentVolume & KubernetesObject>('PersistentVolume', undefined);
    const claims = volumes.map(({ spec }) => `${spec?.claimRef?.namespace}/${spec?.claimRef?.name}`);
    return !claims.includes(`${namespace}/${names.object}`);
  });
}

/** Those who have a place, and nobody else. */
async function expectPlacesOf(instances: number): Promise<void> {
  await waitFor('the places to be given back', async () => {
    const [row] = await mesh.sql<{ reserved: number; spares: number }>(
      `SELECT (SELECT sum(reserved)::int FROM capacity_planner.cell) AS reserved,
         (SELECT count(*)::int FROM capacity_planner.spare WHERE state <> 'claimed') AS spares`,
    );
    return row && row.reserved - row.spares === instances ? true : undefined;
  });
}

test('whenever it is cancelled, an instance is either Ready or nothing is left of it', async () => {
  const first = mesh.request('measured');
  await mesh.publish(first);
  await mesh.ready(first.data.instanceId);
  const { timings } = ready(first.data.instanceId)[0]!.envelope.data;

  const requests: string[] = [];
  const race = async (n: number): Promise<string> => {
    const request = mesh.request(`race-${n}`);
    const { instanceId } = request.data;
    await mesh.publish(request);
    if (n % 2) {
      // Some around the moment in which it is Ready; whatever comes of it is right.
      const nearly = () => mesh.said('instance.provisioning-progressed.v1', instanceId).at(-1)?.envelope.data;
      await mesh.explained(
        waitFor('its workload', () => nearly()?.step === 'workload' || ready(instanceId)[0], { intervalMs: 5 }),
      );
      await pause(Math.random() * timings.workload * 4);
    } else await pause(Math.random() * timings.ready * 1.5);
    requests.push((await cancel(instanceId)).id);
    return instanceId;
  };
  const instances: string[] = [];
  for (let n = 0; n < 20; n += 2) instances.push(...(await Promise.all([race(n), race(n + 1)])));

  const outcome = async (instanceId: string) => {
    await mesh.explained(
      waitFor('one of the two', () => ready(instanceId)[0] ?? cancelled(instanceId)[0], { timeoutMs: 90_000 }),
    );
    if (cancelled(instanceId)[0]) await terminated(instanceId);
  };
  await Promise.all(instances.map(outcome));
  const lost = instances.filter((one) => cancelled(one).length > 0);
  expect(lost.length).toBeGreaterThan(0);
  for (const instanceId of lost) await expectNothingLeft(instanceId);
  await expectPlacesOf(1 + instances.length - lost.length);
  // The requests of those who were Ready too have been handled by now: what is said is all that will be said.
  await waitFor('all requests to be handled', async () => {
    const [row] = await mesh.sql<{ n: number }>(
      'SELECT count(*)::int AS n FROM provisioner.inbox WHERE message_id = ANY($1)',
      [requests],
    );
    return row!.n === requests.length;
  });
  for (const instanceId of instances)
    expect([ready(instanceId).length, cancelled(instanceId).length]).toEqual(
      lost.includes(instanceId) ? [0, 1] : [1, 0],
    );
  const places = await mesh.sql<{ instance_id: string; state: string }>(
    'SELECT instance_id, state FROM capacity_planner.placement',
  );
  expect(new Set(places.filter(({ state }) => state === 'ended').map((one) => one.instance_id))).toEqual(new Set(lost));
});

test('a cancelling is said once, names its request at the end, and whoever cancels again changes nothing', async () => {
  await mesh.services.kill('provisioner');
  const request = mesh.request('twice-cancelled');
  const { instanceId } = request.data;
  await mesh.publish(request);
  await waitFor('its place', () => mesh.said('instance.placed.v1', instanceId)[0]);
  const cancelling = await cancel(instanceId);
  await mesh.services.start('provisioner');
  expect(await terminated(instanceId)).toMatchObject({ approvalId: cancelling.id });
  const again = await cancel(instanceId);
  await waitFor('the second to be handled', async () => {
    const rows = await mesh.sql(`SELECT 1 FROM provisioner.inbox WHERE message_id = $1`, [again.id]);
    return rows.length > 0;
  });
  expect(cancelled(instanceId)).toHaveLength(1);
  expect(ready(instanceId)).toEqual([]);
  await expectNothingLeft(instanceId);
});

test('one that failed beside a stranger’s database is removed, and the stranger’s is left alone', async () => {
  await mesh.services.kill('provisioner');
  // Not one of those for which a spare waits.
  const request = mesh.request('beside-a-stranger', { plan: 'starter' });
  const { instanceId } = request.data;
  await mesh.publish(request);
  const placed = await waitFor('its place', () => mesh.said('instance.placed.v1', instanceId)[0]);
  const { database } = footprintNames(mesh.name, placed.envelope.data.footprintId);
  await mesh.sql(`CREATE DATABASE "${database}"`);
  try {
    await mesh.services.start('provisioner');
    const failed = () => mesh.said('instance.provisioning-failed.v1', instanceId)[0];
    await mesh.explained(waitFor('it to be given up', failed, { timeoutMs: 60_000 }));
    await cancel(instanceId);
    await terminated(instanceId);
    const left = `SELECT datname AS name FROM pg_database WHERE datname = $1 UNION ALL SELECT rolname FROM pg_roles WHERE rolname = $1`;
    expect(await mesh.sql(left, [database])).toEqual([{ name: database }]);
  } finally {
    await mesh.sql(`DROP DATABASE "${database}"`);
  }
});

test('the broker lets nobody but lifecycle cancel', async () => {
  const request = mesh.request('not-yours');
  for (const as of ['signup', 'capacity-planner', 'api-gateway'] as const)
    await expect(mesh.publish(cancelRequest(request.data.instanceId), { key, as })).rejects.toThrow(/ACCESS_REFUSED/);
});
