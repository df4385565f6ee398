import { readFileSync, writeFileSync } from 'node:fs';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import type { V1Deployment } from '@kubernetes/client-node';
import { newId } from '#contracts/index.js';
import type { KubernetesObject } from '#kubernetes/index.js';
import { waitFor } from '#testing/wait-for.js';
import { FootprintsBeside } from './footprints-beside.js';
import { Lifecycle } from './lifecycle.js';
import { TestMesh } from './test-mesh.js';

let mesh: TestMesh;
let lifecycle: Lifecycle;
let footprints: FootprintsBeside;
const made: Ready[] = [];
/** What lifecycle asks of the provisioner, as it is sent. */
// biome-ignore lint/suspicious/noExplicitAny: as a stranger reads it
const removals: any[] = [];

type Ready = Awaited<ReturnType<Lifecycle['running']>>;
const to = 'registry.local/odoo:18.0-2';
type Place = { readonly namespace: string; readonly volumeClaim: string };

beforeAll(async () => {
  mesh = await TestMesh.start({
    // Spoken for here.
    start: ['api-gateway', 'capacity-planner', 'provisioner', 'lifecycle'],
    jobLease: '3s',
    placesPerCell: 5,
    lifecycle: { MESH_START_DEADLINE: '6s', MESH_STOP_DEADLINE: '30s' },
  });
  lifecycle = new Lifecycle(mesh);
  footprints = new FootprintsBeside(mesh);
  const channel = await mesh.asAdministrator();
  const { queue } = await channel.assertQueue('', { exclusive: true });
  await channel.bindQueue(queue, 'mesh.events', 'footprint.removal-requested.v1');
  await channel.consume(queue, (one) => one && removals.push(JSON.parse(one.content.toString()).data), {
    noAck: true,
  });
  const names = Array.from({ length: 10 }, (_, at) => `switch-${at}`);
  made.push(...(await Promise.all(names.map((name) => lifecycle.running(name, { plan: 'starter' })))));
});
afterAll(async () => {
  await footprints?.close();
  await mesh?.stop();
});

/** One that no other test has. */
const taken = () => made.pop()!;

const inAnHour = () => new Date(Date.now() + 3_600_000).toISOString();
const quiesced = ({ instanceId }: Ready) =>
  lifecycle.do('quiesce', instanceId, { purpose: 'restore', deadline: inAnHour() });

async function switchedTo(ready: Ready, footprintId: string) {
  const { token } = await quiesced(ready);
  return await lifecycle.do('release', ready.instanceId, { token, footprintId });
}

const askedOfApi = (instanceId: string) =>
  mesh.api(`/v1/instances/${instanceId}/actions/switch-back`, { method: 'POST', body: { reason: 'a test wants it' } });

async function deploymentOf({ namespace, volumeClaim: name }: Place) {
  const found = await mesh.cluster.get<V1Deployment & KubernetesObject>({ kind: 'Deployment', name, namespace });
  const { volumes } = found?.spec?.template.spec ?? {};
  return {
    replicas: found?.spec?.replicas,
    secret: volumes?.find((one) => one.secret)?.secret?.secretName,
    labels: found?.metadata?.labels,
  };
}

/** On cluster and shard, by its names. */
async function whatIsLeftOf({ footprintId, namespace, role }: Place & { footprintId: string; role: string }) {
  const kinds = ['Secret', 'Deployment', 'Service', 'IngressRoute', 'PersistentVolumeClaim', 'Job', 'Pod'];
  const selector = `mesh.odoo/footprint=${footprintId}`;
  const found = await Promise.all(kinds.map((kind) => mesh.cluster.list(kind, namespace, selector)));
  const onShard = await mesh.sql<{ what: string }>(
    `SELECT datname AS what FROM pg_database WHERE starts_with(datname, $1)
     UNION ALL SELECT 'role' FROM pg_roles WHERE rolname = $1`,
    [role],
  );
  return [...found.flat().map(({ metadata }) => metadata!.name), ...onShard.map(({ what }) => what)];
}

/** Where every route of every cell leads this host. */
async function routesTo({
  host,
}: Pick<Ready, 'host'>): Promise<readonly (readonly [name: string, to: 'edge' | 'instance'])[]> {
  const namespaces = await mesh.sql<{ namespace: string }>('SELECT namespace FROM capacity_planner.cell');
  const routes = await Promise.all(
    // biome-ignore lint/suspicious/noExplicitAny: a stranger's eyes
    namespaces.map(({ namespace }) => mesh.cluster.list<any>('IngressRoute', namespace)),
  );
  return routes.flat().flatMap(({ metadata, spec }) => {
    const rule = spec.routes.find(({ match }: { match: string }) => match === `Host(\`${host}\`)`);
    return rule ? [[metadata.name, rule.services[0].name === 'edge' ? 'edge' : 'instance'] as const] : [];
  });
}

/** Lives there and nowhere else: it runs, its host leads there alone, and Odoo calls itself by it. */
async function expectToLiveIn(
  ready: Ready,
  there: Place & { database: string },
  before: Place,
  ...domains: string[]
): Promise<void> {
  const state = lifecycle.stateOf(ready.instanceId);
  expect(await deploymentOf(there)).toMatchObject({ replicas: 1, secret: state.secret });
  expect((await deploymentOf(before)).replicas ?? 0).toBe(0);
  for (const host of [ready.host, ...domains])
    expect(await routesTo({ host })).toEqual([[there.volumeClaim, 'instance']]);
  const [url] = await mesh.sql<{ value: string }>(
    `SELECT value FROM ir_config_parameter WHERE key = 'web.base.url'`,
    [],
    there.database,
  );
  expect(url!.value).toBe(`http://${ready.host}`);
}

test('released onto another footprint an instance lives there, in another cell, and its domains lead there; one request brings it back, and what was written since is kept', async () => {
  const ready = taken();
  const { instanceId } = ready;
  expect((await askedOfApi(instanceId)).body).toMatchObject({ code: 'nothing-before' });
  const domain = 'switched.acme.example';
  await lifecycle.do('rename', instanceId, { customDomains: [domain] });
  const there = await footprints.makeElsewhere(ready);
  const { token } = await quiesced(ready);
  expect(await routesTo({ host: domain })).toEqual([[ready.volumeClaim, 'edge']]);
  let watching = true;
  const led: string[] = [];
  const watched = (async () => {
    while (watching) {
      const to = (await routesTo(ready)).filter(([, to]) => to === 'instance');
      led.push(to.map(([name]) => name).join(' and '));
    }
  })();

  const released = await lifecycle.do('release', instanceId, { token, footprintId: there.footprintId });
  watching = false;
  await watched;
  expect(released).toMatchObject({
    ...{ fact: 'released', footprintId: there.footprintId, database: there.database, expired: false },
    ...{ volumeClaim: there.volumeClaim, verified: 'pod-condition' },
  });
  expect(led.filter((name) => name !== '' && name !== there.volumeClaim)).toEqual([]);
  expect(lifecycle.stateOf(instanceId)).toMatchObject({
    ...{ state: 'running', reason: 'released', host: ready.host },
    ...{ footprintId: there.footprintId, previousFootprintId: ready.footprintId },
  });
  await expectToLiveIn(ready, there, ready, domain);
  expect((await deploymentOf(there)).labels).toMatchObject({ 'instance-id': instanceId, 'customer-id': 'c-1042' });

  await mesh.sql('CREATE TABLE written_since ()', [], there.database);
  const back = await lifecycle.do('switch-back', instanceId, { footprintId: ready.footprintId });
  expect(back).toMatchObject({
    ...{ fact: 'switched-back', footprintId: ready.footprintId, previousFootprintId: there.footprintId },
    verified: 'pod-condition',
  });
  await expectToLiveIn(ready, ready, there, domain);
  expect(lifecycle.stateOf(instanceId)).toMatchObject({ state: 'running', previousFootprintId: there.footprintId });
  expect(await mesh.sql(`SELECT to_regclass('written_since') AS kept`, [], there.database)).toEqual([
    { kept: 'written_since' },
  ]);
  // Nobody else can write to what is kept.
  const states = mesh.said('instance.state-changed.v1', instanceId).map(({ envelope }) => envelope.data);
  expect(states).toContainEqual(expect.objectContaining({ state: 'maintenance', reason: 'switch-back' }));

  // And once more, with what it has by now, by who does not know the footprint's name.
  await lifecycle.do('resize', instanceId, { plan: 'business' });
  const shown = async () => (await mesh.api(`/v1/instances/${instanceId}`)).body;
  await waitFor('what was before to be shown', async () => {
    const { previousFootprintId, plan, cell } = await shown();
    return previousFootprintId === there.footprintId && plan === 'business' && cell === ready.cell;
  });
  const { status, body } = await askedOfApi(instanceId);
  expect(status).toBe(202);
  expect(await lifecycle.answerTo(body.operationId)).toMatchObject({
    ...{ fact: 'switched-back', footprintId: there.footprintId },
  });
  await expectToLiveIn(ready, there, ready, domain);
  expect(lifecycle.stateOf(instanceId)).toMatchObject({ plan: { name: 'business' } });
});

test('told twice it is switched once', async () => {
  const ready = taken();
  const { instanceId } = ready;
  const { footprintId } = await footprints.make(ready);
  const { token } = await quiesced(ready);
  const release = { id: newId(), token, footprintId, time: new Date().toISOString() };
  await lifecycle.ask('release', instanceId, release);
  await lifecycle.ask('release', instanceId, release);
  expect(await lifecycle.answerTo(release.id)).toMatchObject({ fact: 'released', footprintId });
  expect(await lifecycle.do('release', instanceId, { token, footprintId })).toMatchObject({ code: 'TOKEN_DEAD' });

  const back = { footprintId: ready.footprintId };
  const twice = [
    await lifecycle.ask('switch-back', instanceId, back),
    await lifecycle.ask('switch-back', instanceId, back),
  ];
  for (const id of twice) expect(await lifecycle.answerTo(id)).toMatchObject({ fact: 'switched-back', ...back });
  expect(lifecycle.answersTo(release.id)).toHaveLength(1);
  expect(lifecycle.stateOf(instanceId)).toMatchObject({ ...back, previousFootprintId: footprintId });
});

describe('refused, with nothing touched', () => {
  test('is a footprint that is nobody’s, somebody else’s, of another Odoo, or gone; and the instance stands still for who asked', async () => {
    const [ready, other] = [taken(), made[0]!];
    const { instanceId } = ready;
    const { template } = ready;
    const foreign = await footprints.pretend(ready, { sourceInstanceId: other.instanceId });
    const newer = await footprints.pretend(ready, { template: { ...template, version: `1${template.version}` } });
    const { footprintId: removed } = await footprints.make(ready);
    await footprints.remove(removed);
    const { token } = await quiesced(ready);
    const before = [await deploymentOf(ready), await routesTo(ready)];
    const refused = async (footprintId: string) =>
      (await lifecycle.do('release', instanceId, { token, footprintId })).code;
    expect(await refused(newId())).toBe('UNKNOWN_FOOTPRINT');
    expect(await refused(foreign)).toBe('OTHER_INSTANCE');
    expect(await refused(newer)).toBe('OTHER_VERSION');
    expect(await refused(removed)).toBe('FOOTPRINT_REMOVED');
    expect(await refused(ready.footprintId)).toBe('IS_LIVE');
    expect(lifecycle.stateOf(instanceId)).toMatchObject({ state: 'maintenance', footprintId: ready.footprintId });
    expect([await deploymentOf(ready), await routesTo(ready)]).toEqual(before);
    expect(await lifecycle.do('release', instanceId, { token })).toMatchObject({ fact: 'released' });
    made.push(ready);
  });

  test('is a switch with a token that is dead, and a switch back to where it did not live', async () => {
    const ready = made[0]!;
    const { instanceId } = ready;
    const { footprintId } = await footprints.make(ready);
    const { token } = await quiesced(ready);
    await lifecycle.do('release', instanceId, { token });
    expect(await lifecycle.do('release', instanceId, { token, footprintId })).toMatchObject({ code: 'TOKEN_DEAD' });
    expect(await lifecycle.do('switch-back', instanceId, { footprintId })).toMatchObject({ code: 'NOT_KEPT' });
    expect(lifecycle.stateOf(instanceId)).toMatchObject({ state: 'running', footprintId: ready.footprintId });
  });
});

test('what stands still is switched and stands still, and is started there', async () => {
  const ready = taken();
  const { instanceId } = ready;
  await lifecycle.do('stop', instanceId);
  const there = await footprints.makeElsewhere(ready);
  expect(await switchedTo(ready, there.footprintId)).toMatchObject({ fact: 'released', verified: 'not-started' });
  expect(lifecycle.stateOf(instanceId)).toMatchObject({ state: 'stopped', footprintId: there.footprintId });
  expect((await deploymentOf(there)).replicas).toBeUndefined();
  expect(await routesTo(ready)).toEqual([[there.volumeClaim, 'edge']]);
  await lifecycle.do('start', instanceId);
  await expectToLiveIn(ready, there, ready);
});

test('where the new footprint does not become Ready the instance lives in the old one again, by itself', async () => {
  const ready = taken();
  const { instanceId } = ready;
  const there = await footprints.makeElsewhere(ready, { plan: { ...ready.plan, name: 'business' } });
  expect(there.namespace).not.toBe(ready.namespace);
  const closed = { kind: 'ResourceQuota', name: 'closed', namespace: there.namespace };
  await mesh.cluster.create(
    {
      ...{ apiVersion: 'v1', kind: 'ResourceQuota', metadata: { name: closed.name, namespace: closed.namespace } },
      spec: { hard: { pods: '0' } },
    } as KubernetesObject,
    'test',
  );
  // Who counts has counted.
  await waitFor('the quota to be known', async () => {
    // biome-ignore lint/suspicious/noExplicitAny: a stranger's eyes
    const quota = await mesh.cluster.get<any>(closed);
    return quota?.status?.hard?.pods === '0' || undefined;
  });
  const failed = await switchedTo(ready, there.footprintId);
  expect(failed).toMatchObject({ fact: 'operation-failed', operation: 'release', code: 'NOT_READY_IN_TIME' });
  const state = lifecycle.stateOf(instanceId);
  expect(state).toMatchObject({ state: 'running', reason: 'release-failed', footprintId: ready.footprintId });
  expect(state.previousFootprintId).toBeUndefined();
  await expectToLiveIn(ready, ready, there);
  // Whoever had it made finds nothing there but what he knows of.
  const secrets = await mesh.cluster.list('Secret', there.namespace, `mesh.odoo/footprint=${there.footprintId}`);
  expect(secrets.map(({ metadata }) => metadata!.name)).toEqual([there.secret]);
  await mesh.cluster.delete(closed, { uid: (await mesh.cluster.get(closed))!.metadata!.uid! });
});

test('killed again and again, a switch and a switch back come to their ends, once', async () => {
  const ready = taken();
  const { instanceId } = ready;
  const there = await footprints.makeElsewhere(ready);
  const { token } = await quiesced(ready);
  const stageOf = async (operation: string) => {
    const [row] = await mesh.sql<{ stage: number; status: string }>(
      'SELECT stage, status FROM lifecycle.operation WHERE operation_id = $1',
      [operation],
    );
    if (!row || row.status === 'waiting') return -1;
    return row.status === 'ended' ? 99 : row.stage;
  };
  const killedAt = async (operation: string, stages: readonly number[]) => {
    for (const stage of stages) {
      await waitFor(`stage ${stage}`, async () => (await stageOf(operation)) >= stage, { intervalMs: 5 });
      await mesh.services.kill('lifecycle');
      await mesh.services.start('lifecycle');
    }
  };
  const release = await lifecycle.ask('release', instanceId, { token, footprintId: there.footprintId });
  await killedAt(release, [0, 1]);
  expect(await lifecycle.answerTo(release)).toMatchObject({ fact: 'released', footprintId: there.footprintId });
  await expectToLiveIn(ready, there, ready);

  const back = await lifecycle.ask('switch-back', instanceId, { footprintId: ready.footprintId });
  await killedAt(back, [0, 2, 3]);
  expect(await lifecycle.answerTo(back)).toMatchObject({ fact: 'switched-back', footprintId: ready.footprintId });
  await expectToLiveIn(ready, ready, there);
  for (const id of [release, back]) expect(lifecycle.answersTo(id)).toHaveLength(1);
});

test('the old footprint is asked to be removed when its time is over, by all that is in it', async () => {
  const file = mesh.installed.environmentFile('lifecycle');
  const before = readFileSync(file, 'utf8');
  writeFileSync(file, `${before}MESH_KEEP_OLD=1s\n`);
  await mesh.services.stop('lifecycle');
  await mesh.services.start('lifecycle');
  const ready = taken();
  const { instanceId, footprintId } = ready;
  const there = await footprints.make(ready);
  await switchedTo(ready, there.footprintId);
  const asked = () => removals.filter((one) => one.footprintId === footprintId);
  await mesh.explained(waitFor('the removal to be asked for', () => asked()[0]));
  // Since it was quiesced it has another Secret than the first.
  expect(asked()[0].secrets).toContain(ready.secret.replace(/1$/, '2'));
  await waitFor('it to be called previous no more', () => !lifecycle.stateOf(instanceId).previousFootprintId);
  expect(await lifecycle.do('switch-back', instanceId, { footprintId })).toMatchObject({ code: 'NOT_KEPT' });
  await footprints.removed(footprintId);
  expect(await whatIsLeftOf(ready)).toEqual([]);
  await waitFor('it to be forgotten', async () => {
    const [row] = await mesh.sql<{ former: unknown[] }>(
      'SELECT former_footprints AS former FROM lifecycle.instance WHERE instance_id = $1',
      [instanceId],
    );
    return row!.former.length === 0;
  });
  writeFileSync(file, before);
  await mesh.services.stop('lifecycle');
  await mesh.services.start('lifecycle');
  made.push(ready);
});

test('an instance is not destroyed before its old footprint is gone, and what is approved is what it lives in', async () => {
  const ready = taken();
  const { instanceId } = ready;
  const { footprintId: old } = lifecycle.stateOf(instanceId);
  const there = await footprints.makeElsewhere(ready);
  await switchedTo(ready, there.footprintId);
  const { finalBackupId } = await lifecycle.do('termination', instanceId, { at: new Date().toISOString() });
  expect(removals.filter((one) => one.footprintId === old)).toEqual([]);
  await lifecycle.verifyBackup(instanceId, finalBackupId);
  const approvals = () => mesh.said('instance.purge-approved.v1', instanceId);
  await mesh.explained(waitFor('the approval', () => approvals()[0]));
  const { heard } = mesh;
  const at = (is: (one: (typeof heard)[number]) => boolean) => heard.findIndex(is);
  const gone = at(({ key, envelope }) => key === 'footprint.removed.v1' && envelope.data.footprintId === old);
  expect(gone).toBeGreaterThan(-1);
  expect(gone).toBeLessThan(heard.indexOf(approvals()[0]!));
  expect(approvals()[0]!.envelope.data).toMatchObject({
    ...{ footprintId: there.footprintId, database: there.database, cell: there.cell, backupId: finalBackupId },
  });
  const end = () => mesh.said('instance.terminated.v1', instanceId)[0];
  await mesh.explained(waitFor('the end', end, { timeoutMs: 60_000 }));
  expect([await whatIsLeftOf(there), await whatIsLeftOf(ready)]).toEqual([[], []]);
});

test('a backup that is refused is as little there as one that failed', async () => {
  const ready = taken();
  const operation = await lifecycle.ask('upgrade', ready.instanceId, { to });
  await lifecycle.refuseBackup(ready.instanceId, await lifecycle.backupAskedFor(operation));
  expect(await lifecycle.answerTo(operation)).toMatchObject({ fact: 'upgrade-failed', code: 'BACKUP_REFUSED' });
});

test('without its clone a rehearsal ends, and nothing is touched', async () => {
  const ready = taken();
  const { instanceId } = ready;
  const operation = await lifecycle.ask('upgrade', instanceId, { to, rehearse: true });
  await lifecycle.completeBackup(ready, await lifecycle.backupAskedFor(operation));
  await lifecycle.failClone(instanceId, await lifecycle.cloneAskedFor(operation));
  expect(await lifecycle.answerTo(operation)).toMatchObject({
    ...{ fact: 'upgrade-failed', code: 'CLONE_FAILED', rolledBack: true },
  });
  expect(lifecycle.stateOf(instanceId)).toMatchObject({ state: 'running', image: ready.template.image });
});
