import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { newId } from '#contracts/index.js';
import { programs } from '#local/mesh-install.js';
import { waitFor } from '#testing/wait-for.js';
import { Lifecycle } from './lifecycle.js';
import { TestMesh } from './test-mesh.js';

let mesh: TestMesh;
let lifecycle: Lifecycle;

beforeAll(async () => {
  mesh = await TestMesh.start({ start: programs, jobLease: '3s' });
  lifecycle = new Lifecycle(mesh);
});
afterAll(() => mesh?.stop());

const running = (slug: string) => lifecycle.running(slug);
type Ready = Awaited<ReturnType<typeof running>>;

const terminated = ({ instanceId }: Pick<Ready, 'instanceId'>) =>
  mesh.explained(waitFor('the end', () => mesh.said('instance.terminated.v1', instanceId)[0], { timeoutMs: 60_000 }));
const approvals = ({ instanceId }: Ready) => mesh.said('instance.purge-approved.v1', instanceId);

async function isWhole({ database, volumeClaim: name, namespace }: Ready): Promise<boolean> {
  const databases = await mesh.sql('SELECT 1 FROM pg_database WHERE datname = $1', [database]);
  return (
    databases.length === 1 && (await mesh.cluster.get({ kind: 'PersistentVolumeClaim', name, namespace })) !== undefined
  );
}

test('what is terminated stands still, has its date, and is destroyed after it with a verified backup', async () => {
  const ready = await running('ends');
  const scheduled = await lifecycle.do('termination', ready.instanceId, { at: new Date().toISOString() });
  expect(scheduled).toMatchObject({ fact: 'termination-scheduled' });
  await terminated(ready);
  expect(await isWhole(ready)).toBe(false);
  expect(approvals(ready)).toHaveLength(1);
  // Of all that was said of that backup, its proof came before the approval.
  expect(approvals(ready)[0]!.envelope.data).toMatchObject({ backupId: scheduled.finalBackupId });
  const [proof] = mesh.said('backup.verified.v1', ready.instanceId);
  expect(proof!.envelope.data).toMatchObject({ backupId: scheduled.finalBackupId, depth: 'full', offSite: true });
  expect(mesh.heard.indexOf(proof!)).toBeLessThan(mesh.heard.indexOf(approvals(ready)[0]!));
  await lifecycle.state(ready.instanceId, 'terminated');
  const states = mesh.said('instance.state-changed.v1', ready.instanceId).map(({ envelope }) => envelope.data.state);
  expect([...new Set(states)]).toEqual(['provisioning', 'running', 'terminating', 'purging', 'terminated']);
});

test('before its date nothing is destroyed, and it can be had back', async () => {
  const ready = await running('kept');
  const { purgeNotBefore, finalBackupId } = await lifecycle.do('termination', ready.instanceId);
  expect(Math.round((Date.parse(purgeNotBefore) - Date.now()) / 86_400_000)).toBe(14);
  await mesh.explained(
    waitFor('its proof', () =>
      mesh
        .said('backup.verified.v1', ready.instanceId)
        .some(({ envelope }) => envelope.data.backupId === finalBackupId),
    ),
  );
  expect(await lifecycle.do('start', ready.instanceId)).toMatchObject({ code: 'IS_TERMINATING' });
  expect(await lifecycle.do('termination-cancel', ready.instanceId)).toMatchObject({ fact: 'termination-cancelled' });
  expect(lifecycle.stateOf(ready.instanceId)).toMatchObject({ state: 'running', reason: 'termination-cancelled' });
  expect([approvals(ready), await isWhole(ready)]).toEqual([[], true]);
});

test('a termination overtakes what is under way, and what was under way is answered', async () => {
  const ready = await running('overtaken');
  await lifecycle.do('stop', ready.instanceId);
  const [start, end] = await Promise.all([
    lifecycle.ask('start', ready.instanceId),
    lifecycle.ask('termination', ready.instanceId),
  ]);
  expect(await lifecycle.answerTo(end)).toMatchObject({ fact: 'termination-scheduled' });
  const answer = await lifecycle.answerTo(start);
  expect(['started', 'operation-failed', 'operation-refused']).toContain(answer.fact);
  expect(lifecycle.stateOf(ready.instanceId)).toMatchObject({ state: 'terminating' });
});

test('what is not Ready yet is cancelled, and nothing of it is left', async () => {
  const request = mesh.request('not-yet');
  await mesh.services.stop('provisioner');
  await mesh.publish(request);
  const { instanceId } = request.data;
  await lifecycle.state(instanceId, 'provisioning');
  const operation = await lifecycle.ask('termination', instanceId);
  await mesh.services.start('provisioner');
  expect(await lifecycle.answerTo(operation)).toMatchObject({ fact: 'termination-scheduled' });
  await terminated({ instanceId });
  await lifecycle.state(instanceId, 'terminated');
  expect(mesh.said('instance.ready.v1', instanceId)).toEqual([]);
  expect(mesh.said('instance.provisioning-cancelled.v1', instanceId)).toHaveLength(1);
  const { namespace, footprintId } = mesh.said('instance.placed.v1', instanceId)[0]!.envelope.data;
  for (const kind of ['IngressRoute', 'Deployment', 'PersistentVolumeClaim'])
    expect(await mesh.cluster.list(kind, namespace, `mesh.odoo/footprint=${footprintId}`)).toEqual([]);
});

describe('quiesced', () => {
  const inAMinute = () => new Date(Date.now() + 60_000).toISOString();

  test('an instance has no pod, and nobody who knows the old password gets in; released, it runs with the new one', async () => {
    const ready = await running('held');
    const quiesced = await lifecycle.do('quiesce', ready.instanceId, { purpose: 'restore', deadline: inAMinute() });
    expect(quiesced).toMatchObject({ fact: 'quiesced', purpose: 'restore', database: ready.database });
    expect(lifecycle.stateOf(ready.instanceId)).toMatchObject({ state: 'maintenance', reason: 'restore' });
    const released = await lifecycle.do('release', ready.instanceId, { token: quiesced.token });
    expect(released).toMatchObject({ fact: 'released', expired: false });
    expect(await lifecycle.state(ready.instanceId, 'running')).toMatchObject({
      secret: ready.secret.replace(/v1$/, 'v2'),
    });
  });

  test('past its deadline an instance runs again and its token is dead', async () => {
    const ready = await running('forgotten');
    const deadline = new Date(Date.now() + 6_000).toISOString();
    const { token } = await lifecycle.do('quiesce', ready.instanceId, { purpose: 'restore', deadline });
    const stop = await lifecycle.ask('restart', ready.instanceId);
    await waitFor('the release', () => mesh.said('instance.released.v1', ready.instanceId)[0]);
    expect(mesh.said('instance.released.v1', ready.instanceId)[0]!.envelope.data).toMatchObject({ expired: true });
    expect(await lifecycle.do('release', ready.instanceId, { token })).toMatchObject({ code: 'TOKEN_DEAD' });
    // What had to wait was done afterwards.
    expect(await lifecycle.answerTo(stop)).toMatchObject({ fact: 'restarted' });
  });

  test('a wrong token releases nothing', async () => {
    const ready = await running('guarded');
    const { token } = await lifecycle.do('quiesce', ready.instanceId, { purpose: 'move', deadline: inAMinute() });
    expect(await lifecycle.do('release', ready.instanceId, { token: newId() })).toMatchObject({ code: 'TOKEN_DEAD' });
    expect(lifecycle.stateOf(ready.instanceId)).toMatchObject({ state: 'maintenance' });
    await lifecycle.do('release', ready.instanceId, { token });
  });
});

test('a lifecycle that is killed in the middle of everything goes on where it was', async () => {
  const made = await Promise.all(['a', 'b', 'c', 'd'].map((name) => running(`killed-${name}`)));
  const asked: string[] = [];
  for (let round = 0; round < 3; round++) {
    for (const [at, { instanceId }] of made.entries())
      asked.push(
        await lifecycle.ask(['stop', 'restart', 'start', 'suspend', 'resume'][(round + at) % 5]!, instanceId, {
          why: 'operator',
        }),
      );
    await mesh.services.kill('lifecycle');
    await mesh.services.start('lifecycle');
  }
  for (const id of asked) await lifecycle.answerTo(id);
  // Who is killed may have said it, and not know it: then it is said again, under the same id.
  for (const id of asked) expect(new Set(lifecycle.answersTo(id).map(({ envelope }) => envelope.id)).size).toBe(1);
});
