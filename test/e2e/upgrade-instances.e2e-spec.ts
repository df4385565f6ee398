import { afterAll, beforeAll, expect, test } from '@jest/globals';
import type { V1Deployment } from '@kubernetes/client-node';
import type { KubernetesObject } from '#kubernetes/index.js';
import { programs } from '#local/mesh-install.js';
import type { IngressRoute } from '#odoo/index.js';
import { waitFor } from '#testing/wait-for.js';
import { Lifecycle } from './lifecycle.js';
import { TestMesh } from './test-mesh.js';

let mesh: TestMesh;
let lifecycle: Lifecycle;
const to = 'registry.local/odoo:18.0-2';

beforeAll(async () => {
  mesh = await TestMesh.start({ start: programs, jobLease: '3s', lifecycle: { MESH_KEEP_OLD: '3s' } });
  lifecycle = new Lifecycle(mesh);
});
afterAll(async () => {
  await mesh?.stop();
});

/** A simulated cell has no quota of memory, and nobody has said how large the disk of its shard is. */
const roomForAll = [
  { check: 'volume', verdict: 'fits', message: expect.stringContaining('MiB') },
  { check: 'shard-disk', verdict: 'not-checked', message: expect.stringContaining('MESH_SHARD_DISKS') },
  { check: 'memory', verdict: 'not-checked', message: expect.stringContaining('no quota of its cell') },
  { check: 'connections', verdict: 'fits', message: expect.stringContaining('up to') },
];

const running = (slug: string) => lifecycle.running(slug);
type Ready = Awaited<ReturnType<typeof running>>;

async function deploymentOf({ namespace, volumeClaim: name }: Ready) {
  const found = await mesh.cluster.get<V1Deployment & KubernetesObject>({ kind: 'Deployment', name, namespace });
  const { containers, volumes } = found!.spec!.template.spec!;
  return {
    image: containers[0]!.image,
    secret: volumes!.find((one) => one.secret)!.secret!.secretName,
    replicas: found!.spec!.replicas,
  };
}

/** To which Service each of its hosts leads. */
async function routesOf({ namespace, volumeClaim: name }: Ready): Promise<Record<string, string>> {
  const found = await mesh.cluster.get<IngressRoute & KubernetesObject>({ kind: 'IngressRoute', name, namespace });
  const hostOf = (match: string) => /^Host\(`([^`]+)`\)$/.exec(match)?.[1];
  return Object.fromEntries(
    found!.spec.routes.flatMap(({ match, services }) => {
      const host = hostOf(match);
      return host ? [[host, services[0]!.name]] : [];
    }),
  );
}

const databasesOf = async ({ role }: Ready) =>
  (
    await mesh.sql<{ name: string }>(
      `SELECT datname AS name FROM pg_database WHERE datname LIKE $1 || '%' ORDER BY datname`,
      [role],
    )
  ).map(({ name }) => name);

const jobsOf = ({ namespace, footprintId }: Ready) =>
  mesh.cluster.list('Job', namespace, `mesh.odoo/footprint=${footprintId}`);

test('an upgrade waits for its backup, works on a copy, and runs on it; the old database is kept for its time', async () => {
  const ready = await running('upgrade');
  const domain = 'upgraded.acme.example';
  await lifecycle.do('rename', ready.instanceId, { customDomains: [domain] });
  const operation = await lifecycle.ask('upgrade', ready.instanceId, { to });
  const backupId = await lifecycle.backupAskedFor(operation);
  expect(await lifecycle.answerTo(operation)).toMatchObject({
    fact: 'upgraded',
    image: to,
    previousImage: ready.template.image,
    warnings: ['a simulated node ran nothing'],
    preflight: roomForAll,
  });
  // Nothing was touched before the backup was there.
  const [made] = mesh.said('backup.completed.v1', ready.instanceId);
  expect(made!.envelope.data).toMatchObject({ backupId, why: 'pre-upgrade' });
  const maintenance = mesh
    .said('instance.state-changed.v1', ready.instanceId)
    .find(({ envelope }) => envelope.data.state === 'maintenance');
  expect(mesh.heard.indexOf(made!)).toBeLessThan(mesh.heard.indexOf(maintenance!));
  const state = lifecycle.stateOf(ready.instanceId);
  expect(state).toMatchObject({ state: 'running', image: to, database: `${ready.database}_1` });
  expect(await deploymentOf(ready)).toEqual({ image: to, secret: state.secret, replicas: 1 });
  expect(await jobsOf(ready)).toEqual([]);
  expect(await routesOf(ready)).toEqual({ [ready.host]: ready.volumeClaim, [domain]: ready.volumeClaim });
  const states = mesh.said('instance.state-changed.v1', ready.instanceId).map(({ envelope }) => envelope.data);
  expect(states).toContainEqual(
    expect.objectContaining({ state: 'maintenance', reason: 'upgrade', desired: 'running' }),
  );
  await waitFor('the old database to be dropped', async () => (await databasesOf(ready)).length === 1);
  expect(await databasesOf(ready)).toEqual([`${ready.database}_1`]);

  // And to its end.
  await lifecycle.do('termination', ready.instanceId, { at: new Date().toISOString() });
  await mesh.explained(
    waitFor('the end', () => mesh.said('instance.terminated.v1', ready.instanceId)[0], { timeoutMs: 60_000 }),
  );
  expect(await databasesOf(ready)).toEqual([]);
  for (const version of [1, 2, 3, 4]) {
    const name = ready.secret.replace(/1$/, String(version));
    expect(await mesh.cluster.get({ kind: 'Secret', name, namespace: ready.namespace })).toBeUndefined();
  }
});

test('without its backup an upgrade touches nothing', async () => {
  const ready = await running('no-backup');
  // What does not say which Odoo's it is cannot be backed up.
  await mesh.sql(`UPDATE ir_module_module SET latest_version = 'none'`, [], ready.database);
  const operation = await lifecycle.ask('upgrade', ready.instanceId, { to });
  expect(await lifecycle.answerTo(operation)).toMatchObject({
    fact: 'upgrade-failed',
    code: 'BACKUP_FAILED',
    fault: 'platform',
    rolledBack: true,
  });
  expect(lifecycle.stateOf(ready.instanceId)).toMatchObject({ state: 'running', image: ready.template.image });
  expect(await deploymentOf(ready)).toEqual({ image: ready.template.image, secret: ready.secret, replicas: 1 });
  expect(await databasesOf(ready)).toEqual([ready.database]);
});

test('without room for it an upgrade touches nothing and asks nobody, rehearsed or not', async () => {
  const ready = await running('no-room');
  await mesh.sql(`ALTER ROLE "${ready.role}" CONNECTION LIMIT 1`);
  for (const rehearse of [false, true])
    expect(await lifecycle.do('upgrade', ready.instanceId, { to, rehearse })).toMatchObject({
      ...{ fact: 'upgrade-failed', code: 'TOO_FEW_CONNECTIONS', fault: 'platform', rolledBack: true },
      message: expect.stringMatching(/up to \d+ connections, and its role on shard local may have 1: set its/),
      preflight: expect.arrayContaining([expect.objectContaining({ check: 'connections', verdict: 'lacking' })]),
    });
  const states = mesh.said('instance.state-changed.v1', ready.instanceId).map(({ envelope }) => envelope.data.state);
  expect([...new Set(states)]).toEqual(['provisioning', 'running']);
  expect(await mesh.sql('SELECT 1 FROM backup.backup WHERE instance_id = $1', [ready.instanceId])).toEqual([]);
  expect(await deploymentOf(ready)).toEqual({ image: ready.template.image, secret: ready.secret, replicas: 1 });
});

test('rehearsed, an upgrade is tried in a clone of the backup, which is removed; the instance runs on untouched', async () => {
  const ready = await running('rehearsed');
  const { instanceId } = ready;
  const before = await deploymentOf(ready);
  const operation = await lifecycle.ask('upgrade', instanceId, { to, rehearse: true });
  expect(await lifecycle.answerTo(operation)).toMatchObject({
    ...{ fact: 'upgraded', rehearsed: true, image: to, previousImage: ready.template.image },
    warnings: ['a simulated node ran nothing'],
    preflight: roomForAll,
  });
  expect([await deploymentOf(ready), await databasesOf(ready)]).toEqual([before, [ready.database]]);
  const states = mesh.said('instance.state-changed.v1', instanceId).map(({ envelope }) => envelope.data);
  expect([...new Set(states.map(({ state }) => state))]).toEqual(['provisioning', 'running']);
  expect(states.at(-1).previousFootprintId).toBeUndefined();
  const [cloned] = mesh.said('restore.completed.v1', instanceId);
  const { footprintId } = cloned!.envelope.data;
  await mesh.explained(
    waitFor('the clone to be removed', () =>
      mesh.heard.some(
        ({ key, envelope }) => key === 'footprint.removed.v1' && envelope.data.footprintId === footprintId,
      ),
    ),
  );
  expect(await jobsOf({ ...ready, footprintId })).toEqual([]);
});

test.each([
  ['to another Odoo', { to: 'registry.local/odoo:19.0-1' }, 'OTHER_VERSION'],
  ['to who knows what', { to: 'registry.local/odoo:latest' }, 'OTHER_VERSION'],
])('an upgrade %s is refused', async (what, data, code) => {
  const ready = await running(`refused-${what.toLowerCase().replaceAll(' ', '-')}`);
  expect(await lifecycle.do('upgrade', ready.instanceId, data)).toMatchObject({ fact: 'operation-refused', code });
});

test('what stands still is upgraded and stands still', async () => {
  const ready = await running('stands');
  await lifecycle.do('stop', ready.instanceId);
  const operation = await lifecycle.ask('upgrade', ready.instanceId, { to });
  expect(await lifecycle.answerTo(operation)).toMatchObject({ fact: 'upgraded' });
  expect(lifecycle.stateOf(ready.instanceId)).toMatchObject({ state: 'stopped', image: to });
  await lifecycle.do('start', ready.instanceId);
  expect(await deploymentOf(ready)).toMatchObject({ image: to, replicas: 1 });
});

test('killed again and again, an upgrade comes to its end, once', async () => {
  const ready = await running('killed');
  const operation = await lifecycle.ask('upgrade', ready.instanceId, { to });
  const stageOf = async () => {
    const [row] = await mesh.sql<{ stage: number; status: string }>(
      'SELECT stage, status FROM lifecycle.operation WHERE operation_id = $1',
      [operation],
    );
    return row!.status === 'ended' ? 99 : row!.stage;
  };
  // While it is fenced, while the copy is updated, and while that is cleared away.
  for (const stage of [2, 4, 5]) {
    await waitFor(`stage ${stage}`, async () => (await stageOf()) >= stage, { intervalMs: 10 });
    await mesh.services.kill('lifecycle');
    await mesh.services.start('lifecycle');
  }
  expect(await lifecycle.answerTo(operation)).toMatchObject({ fact: 'upgraded', image: to });
  expect(lifecycle.answersTo(operation)).toHaveLength(1);
  expect(await jobsOf(ready)).toEqual([]);
  await waitFor('the old database to be dropped', async () => (await databasesOf(ready)).length === 1);
});
