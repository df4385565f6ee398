import { afterAll, beforeAll, expect, test } from '@jest/globals';
import type { V1PersistentVolumeClaim } from '@kubernetes/client-node';
import { newId } from '#contracts/index.js';
import type { KubernetesObject } from '#kubernetes/index.js';
import { waitFor } from '#testing/wait-for.js';
import { TestMesh } from './test-mesh.js';

let mesh: TestMesh;

beforeAll(async () => {
  mesh = await TestMesh.start();
});
afterAll(() => mesh?.stop());

async function makeInstance(slug: string) {
  const request = mesh.request(slug);
  await mesh.publish(request);
  return await mesh.ready(request.data.instanceId);
}

type Ready = Awaited<ReturnType<typeof makeInstance>>;

const key = 'instance.purge-approved.v1';

async function isWhole(ready: Ready): Promise<boolean> {
  const databases = await mesh.sql('SELECT 1 FROM pg_database WHERE datname = $1', [ready.database]);
  const deployment = await mesh.cluster.get({
    kind: 'Deployment',
    name: ready.volumeClaim,
    namespace: ready.namespace,
  });
  return databases.length === 1 && deployment !== undefined && !deployment.metadata?.deletionTimestamp;
}

async function parkedError(messageId: string): Promise<string> {
  return await waitFor('the parked message', async () => {
    const rows = await mesh.sql<{ error: string }>(
      'SELECT error FROM api_gateway.parked_message WHERE position($1::bytea in body) > 0',
      [Buffer.from(messageId)],
    );
    return rows[0]?.error;
  });
}

test('an approved purge destroys everything of the instance, and its place is free while its name rests', async () => {
  const ready = await makeInstance('ending');
  const claim = { kind: 'PersistentVolumeClaim', name: ready.volumeClaim, namespace: ready.namespace };
  const bound = await mesh.cluster.get<V1PersistentVolumeClaim & KubernetesObject>(claim);
  await mesh.purge(ready);

  const { namespace, volumeClaim: name } = ready;
  for (const kind of ['Deployment', 'Service', 'IngressRoute', 'PersistentVolumeClaim'])
    expect(await mesh.cluster.get({ kind, name, namespace })).toBeUndefined();
  expect(await mesh.cluster.get({ kind: 'Secret', name: ready.secret, namespace })).toBeUndefined();
  await waitFor('the volume to be gone', async () => {
    const volume = { kind: 'PersistentVolume', name: bound!.spec!.volumeName! };
    return (await mesh.cluster.get(volume)) === undefined;
  });
  expect(
    await mesh.sql(
      'SELECT datname AS name FROM pg_database WHERE datname = $1 UNION ALL SELECT rolname FROM pg_roles WHERE rolname = $1',
      [ready.database],
    ),
  ).toEqual([]);
  await waitFor('the place to be given back', async () => {
    const [cell] = await mesh.sql<{ reserved: number }>(
      'SELECT sum(reserved)::int AS reserved FROM capacity_planner.cell',
    );
    return cell!.reserved === 0;
  });
  const again = mesh.request('ending');
  await mesh.publish(again);
  expect(await mesh.refused(again.id)).toMatchObject({ code: 'slug-taken' });
  await waitFor('the read model', async () => {
    return (await mesh.api(`/v1/instances/${ready.instanceId}`)).body.state === 'terminated';
  });
});

test('a purge that lifecycle did not say destroys nothing', async () => {
  const ready = await makeInstance('forged');
  // The broker lets nobody but lifecycle use the key, on its own account or on the exchange of somebody's queue.
  for (const as of ['signup', 'capacity-planner', 'api-gateway'] as const)
    await expect(mesh.publish(mesh.purgeApproval(ready), { key, as })).rejects.toThrow(/ACCESS_REFUSED/);
  // An administrator can; then it is the provisioner who does not believe it.
  const forged = mesh.purgeApproval(ready);
  await mesh.publishAsAdministrator(forged, key);
  expect(await parkedError(forged.id)).toMatch(/believed only from lifecycle/);
  expect(await isWhole(ready)).toBe(true);
});

test.each([
  ['that is too old', { expiresAt: new Date(Date.now() - 1_000).toISOString() }, /good until/],
  ['without a backup', { backupId: undefined }, /without a verified backup/],
  ['for another instance', { instanceId: newId() }, /belongs to another instance/],
  ['for a footprint nobody knows', { footprintId: newId() }, /not known here/],
])('an approval %s is parked and destroys nothing', async (_, change, reason) => {
  const ready = await makeInstance(`kept-${newId().slice(-6)}`);
  const message = mesh.purgeApproval(ready, change);
  await mesh.publish(message, { key, as: 'lifecycle' });
  expect(await parkedError(message.id)).toMatch(reason);
  expect(await isWhole(ready)).toBe(true);
});

test('an approval that comes twice is one removal', async () => {
  const ready = await makeInstance('twice');
  const message = mesh.purgeApproval(ready);
  await mesh.publish(message, { key, as: 'lifecycle' });
  await mesh.publish(message, { key, as: 'lifecycle' });
  await mesh.publish({ ...message, id: newId(), sequence: message.sequence + 1 }, { key, as: 'lifecycle' });
  await waitFor('the end', () => mesh.said('instance.terminated.v1', ready.instanceId)[0], { timeoutMs: 60_000 });
  await waitFor('all to be handled', async () => {
    const [row] = await mesh.sql<{ n: number }>(
      `SELECT count(*)::int AS n FROM provisioner.inbox WHERE source = 'lifecycle' AND message_id = $1`,
      [message.id],
    );
    return row!.n === 1;
  });
  expect(mesh.said('instance.terminated.v1', ready.instanceId)).toHaveLength(1);
});

test('a provisioner that is killed while it destroys goes on where it was', async () => {
  const ready = await makeInstance('cut-off');
  await mesh.publish(mesh.purgeApproval(ready), { key, as: 'lifecycle' });
  await mesh.services.kill('provisioner');
  await mesh.services.start('provisioner');
  await waitFor('the end', () => mesh.said('instance.terminated.v1', ready.instanceId)[0], { timeoutMs: 60_000 });
  expect(await isWhole(ready)).toBe(false);
});
