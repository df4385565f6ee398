import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import type { V1PersistentVolumeClaim, V1Secret } from '@kubernetes/client-node';
import { Client } from 'pg';
import { newId } from '#contracts/index.js';
import type { KubernetesObject } from '#kubernetes/index.js';
import { footprintNames } from '#odoo/index.js';
import { cloneTemplate, dropTenantDatabase, Shard } from '#tenant-databases/index.js';
import { waitFor } from '#testing/wait-for.js';
import { type Heard, TestMesh, type TestMeshOptions } from './test-mesh.js';

let mesh: TestMesh;
afterAll(() => mesh?.stop());

/** Backup and lifecycle are spoken for here: what they would say, and when, is what is tried. */
const withoutBackup: TestMeshOptions = {
  start: ['api-gateway', 'capacity-planner', 'provisioner'],
  snapshotsAnswered: false,
  jobLease: '2s',
};

type Ready = Awaited<ReturnType<TestMesh['ready']>>;

async function makeInstance(slug: string): Promise<Ready> {
  const request = mesh.request(slug);
  await mesh.publish(request);
  return await mesh.ready(request.data.instanceId);
}

/** @returns the request's id. */
async function ask(
  key: string,
  data: Record<string, unknown>,
  as: 'backup' | 'lifecycle' | 'capacity-planner' = 'backup',
): Promise<string> {
  const id = newId();
  const time = new Date().toISOString();
  await mesh.publish({ specversion: '1.0', id, source: as, type: `mesh.${key}`, time, data }, { key, as });
  return id;
}

/** The facts that answer a request, without repeats. */
const answersTo = (requestId: string): Heard[] => [
  ...new Map(
    mesh.heard
      .filter(({ envelope }) => envelope.causationid === requestId)
      .map((one) => [one.envelope.id, one] as const),
  ).values(),
];

async function answerTo(requestId: string) {
  const heard = await mesh.explained(
    waitFor(`an answer to ${requestId}`, () => answersTo(requestId)[0], { timeoutMs: 60_000 }),
  );
  return { key: heard.key, ...heard.envelope.data };
}

const ofFootprint = (key: string, footprintId: string) =>
  mesh.heard.filter((one) => one.key === key && one.envelope.data.footprintId === footprintId);

const wishOf = <More extends object>({ instanceId, template }: Ready, purpose: string, more?: More) => ({
  footprintId: newId(),
  purpose,
  instanceId,
  template,
  ...(more as More),
});

async function standing(footprintId: string) {
  const said = () => ofFootprint('footprint.ready.v1', footprintId)[0];
  const fact = await mesh.explained(waitFor(`footprint ${footprintId} to stand`, said, { timeoutMs: 60_000 }));
  return fact.envelope.data;
}

async function makeFootprint(source: Ready, purpose: string) {
  const wish = wishOf(source, purpose);
  await ask('footprint.requested.v1', wish);
  return await standing(wish.footprintId);
}

const remove = (footprintId: string, as: Parameters<typeof ask>[2] = 'backup') =>
  ask('footprint.removal-requested.v1', { footprintId, reason: 'a test wants it' }, as);

/** Places and databases that are taken. */
async function reserved(): Promise<number[]> {
  const [row] = await mesh.sql<{ places: number; databases: number }>(
    `SELECT (SELECT sum(reserved)::int FROM capacity_planner.cell) AS places,
       (SELECT sum(reserved)::int FROM capacity_planner.database_shard) AS databases`,
  );
  return [row!.places, row!.databases];
}

async function whatIsLeftOf(footprintId: string): Promise<string[]> {
  const { object, secret, database } = footprintNames(mesh.name, footprintId);
  const namespace = `${mesh.name}-c0`;
  const objects = await Promise.all(
    [
      ['Secret', secret],
      ...['Deployment', 'Service', 'IngressRoute', 'PersistentVolumeClaim'].map((kind) => [kind, object]),
    ].map(async ([kind, name]) => ((await mesh.cluster.get({ kind: kind!, name: name!, namespace })) ? [kind!] : [])),
  );
  const onShard = await mesh.sql<{ what: string }>(
    `SELECT 'database' AS what FROM pg_database WHERE starts_with(datname, $1)
     UNION ALL SELECT 'role' FROM pg_roles WHERE rolname = $1`,
    [database],
  );
  return [...objects.flat(), ...onShard.map(({ what }) => what)].sort();
}

const asMade = ['PersistentVolumeClaim', 'Secret', 'database', 'role'];

/** Lifecycle switches the instance: from then on it lives there. */
async function switchTo(ready: Ready, { footprintId, database, secret, volumeClaim }: Ready): Promise<void> {
  const where = { footprintId, previousFootprintId: ready.footprintId, database, secret, volumeClaim };
  await mesh.publish(mesh.stateChange(ready, 'running', 'switched', where), {
    key: 'instance.state-changed.v1',
    as: 'lifecycle',
  });
}

/** As the backup service leaves it when it is done: it has data, it is its tenant's, and it has an identity of its own. */
async function fill({ footprintId, database, template }: Ready): Promise<void> {
  const shard = new Shard('local', mesh.installed.shardUrl, mesh.name);
  const tenant = { name: database, footprintId, epoch: 1 };
  await dropTenantDatabase(shard, tenant, database);
  await cloneTemplate(shard, tenant, template.database);
  await shard.close();
  await mesh.sql(`UPDATE res_users SET login = 'from-the-backup' WHERE id = 2`, [], database);
  await mesh.sql(
    `INSERT INTO ir_config_parameter (key, value) VALUES ('database.uuid', $1)
     ON CONFLICT (key) DO UPDATE SET value = excluded.value`,
    [newId()],
    database,
  );
}

describe('beside an instance', () => {
  let source: Ready;
  beforeAll(async () => {
    mesh = await TestMesh.start(withoutBackup);
    source = await makeInstance('source');
  });

  it('a footprint is made in its cell and on its shard, with nothing in it that anybody can enter or reach', async () => {
    const before = await reserved();
    const wish = wishOf(source, 'restore', { plan: { name: 'enterprise', version: 2 } });
    const { footprintId } = wish;
    const placed = await answerTo(await ask('footprint.requested.v1', wish));
    const { cell, namespace, databaseShard, template } = source;
    const place = { footprintId, purpose: 'restore', cell, namespace, databaseShard, template, plan: wish.plan };
    expect(placed).toMatchObject({ key: 'footprint.placed.v1', ...place, sourceInstanceId: source.instanceId });
    const stands = await standing(footprintId);
    expect(stands).toMatchObject({ ...place, sourceInstanceId: source.instanceId });
    expect(await whatIsLeftOf(footprintId)).toEqual(asMade);
    expect(await reserved()).toEqual(before.map((count) => count + 1));

    const { database, secret, role } = stands;
    const found = await mesh.cluster.get<V1Secret & KubernetesObject>({ kind: 'Secret', name: secret, namespace });
    const password = Buffer.from(found!.data!['database-password']!, 'base64').toString();
    const entering = async (user: string, as: string) => {
      const url = new URL(mesh.installed.shardUrl);
      Object.assign(url, { username: user, password: as, pathname: `/${database}` });
      const client = new Client({ connectionString: url.toString() });
      try {
        await client.connect();
        return (await client.query(`SELECT count(*)::int AS tables FROM pg_tables WHERE schemaname = 'public'`)).rows;
      } finally {
        await client.end().catch(() => {});
      }
    };
    await expect(entering(role, password)).rejects.toThrow(/not currently accepting connections|permission denied/);
    // Its owner opens it to itself, and to nobody else.
    const owner = new URL(mesh.installed.shardUrl);
    const asOwner = new Client({ connectionString: owner.toString() });
    await asOwner.connect();
    await asOwner.query(`ALTER DATABASE "${database}" ALLOW_CONNECTIONS true`);
    await asOwner.end();
    expect(await entering(owner.username, decodeURIComponent(owner.password))).toEqual([{ tables: 0 }]);
    await expect(entering(role, password)).rejects.toThrow(/permission denied/);
  });

  it('asked for twice it is one, and the same id for something else is refused', async () => {
    const wish = wishOf(source, 'clone');
    const before = await reserved();
    const ids = await Promise.all([1, 2].map(() => ask('footprint.requested.v1', wish)));
    for (const id of ids) expect(await answerTo(id)).toMatchObject({ key: 'footprint.placed.v1' });
    await standing(wish.footprintId);
    const other = await ask('footprint.requested.v1', { ...wish, purpose: 'proof' });
    expect(await answerTo(other)).toMatchObject({ key: 'footprint.refused.v1', code: 'SAME_ID_OTHER_BODY' });
    const taken = wishOf(source, 'clone', { footprintId: source.footprintId });
    expect(await answerTo(await ask('footprint.requested.v1', taken))).toMatchObject({ code: 'SAME_ID_OTHER_BODY' });
    expect(await reserved()).toEqual(before.map((count) => count + 1));
    expect(ofFootprint('footprint.ready.v1', wish.footprintId)).toHaveLength(1);
  });

  it('whose instance nobody knows, or whose plan there is not, is refused', async () => {
    const nobody = wishOf(source, 'restore', { instanceId: newId() });
    expect(await answerTo(await ask('footprint.requested.v1', nobody))).toMatchObject({ code: 'NOT_PLACED' });
    const planless = wishOf(source, 'restore', { plan: { name: 'business', version: 99 } });
    expect(await answerTo(await ask('footprint.requested.v1', planless))).toMatchObject({ code: 'UNKNOWN_PLAN' });
  });

  it('is made by whoever comes after a provisioner that died, at any step', async () => {
    const { namespace } = source;
    for (const kind of ['Secret', 'PersistentVolumeClaim'] as const) {
      const wish = wishOf(source, 'proof');
      const { secret, object } = footprintNames(mesh.name, wish.footprintId);
      await ask('footprint.requested.v1', wish);
      const ref = { kind, name: kind === 'Secret' ? secret : object, namespace };
      await waitFor(`its ${kind}`, () => mesh.cluster.get(ref), { intervalMs: 5 });
      await mesh.services.kill('provisioner');
      await mesh.services.start('provisioner');
      await standing(wish.footprintId);
      expect(await whatIsLeftOf(wish.footprintId)).toEqual(asMade);
    }
  });

  it('what stands in its way, and is not ours, ends its making and stays', async () => {
    const wish = wishOf(source, 'restore');
    const { database } = footprintNames(mesh.name, wish.footprintId);
    await mesh.sql(`CREATE DATABASE "${database}"`);
    await ask('footprint.requested.v1', wish);
    const failed = await mesh.explained(
      waitFor('its end', () => ofFootprint('footprint.failed.v1', wish.footprintId)[0]),
    );
    expect(failed.envelope.data).toMatchObject({ code: 'FOREIGN_DATABASE', purpose: 'restore' });
    expect(await answerTo(await remove(wish.footprintId))).toMatchObject({ key: 'footprint.removed.v1' });
    expect(await whatIsLeftOf(wish.footprintId)).toEqual(['database']);
    await mesh.sql(`DROP DATABASE "${database}"`);
  });

  it('removed, nothing is left of it and what it held is free; who asks twice is answered twice', async () => {
    const { footprintId, volumeClaim: name, namespace } = await makeFootprint(source, 'proof');
    const claim = { kind: 'PersistentVolumeClaim', name, namespace };
    const bound = await mesh.cluster.get<V1PersistentVolumeClaim & KubernetesObject>(claim);
    const before = await reserved();
    const requests = [await remove(footprintId), await remove(footprintId)];
    for (const id of requests)
      expect(await answerTo(id)).toMatchObject({ key: 'footprint.removed.v1', footprintId, purpose: 'proof' });
    expect(await whatIsLeftOf(footprintId)).toEqual([]);
    if (bound?.spec?.volumeName) {
      const volume = { kind: 'PersistentVolume', name: bound.spec.volumeName };
      await waitFor('its volume to be gone', async () => (await mesh.cluster.get(volume)) === undefined);
    }
    await waitFor('its room to be free', async () => {
      const now = await reserved();
      return now.every((count, at) => count === before[at]! - 1);
    });
    expect(await answerTo(await remove(footprintId))).toMatchObject({ key: 'footprint.removed.v1' });
    const again = wishOf(source, 'proof', { footprintId });
    expect((await answerTo(await ask('footprint.requested.v1', again))).key).toBe('footprint.refused.v1');
  });

  it('is not removed for who did not have it made, nor where a host leads to it', async () => {
    const { footprintId, namespace, volumeClaim: name } = await makeFootprint(source, 'restore');
    const refusal = { key: 'footprint.removal-refused.v1', footprintId };
    expect(await answerTo(await remove(footprintId, 'capacity-planner'))).toMatchObject({
      ...refusal,
      code: 'NOT_YOURS',
    });
    // Lifecycle has switched to it, and its word has not come yet.
    const route = { apiVersion: 'traefik.io/v1alpha1', kind: 'IngressRoute', metadata: { name, namespace } };
    await mesh.cluster.create({ ...route, spec: { routes: [] } } as KubernetesObject, 'test');
    expect(await answerTo(await remove(footprintId))).toMatchObject({ ...refusal, code: 'IN_USE' });
    expect(await whatIsLeftOf(footprintId)).toEqual(['IngressRoute', ...asMade].sort());
    const { metadata } = (await mesh.cluster.get({ kind: 'IngressRoute', name, namespace }))!;
    await mesh.cluster.delete({ kind: 'IngressRoute', name, namespace }, { uid: metadata!.uid! });
    expect(await answerTo(await remove(footprintId))).toMatchObject({ key: 'footprint.removed.v1' });
  });

  it('a clone becomes an instance with what it holds, and ends as one', async () => {
    const clone = await makeFootprint(source, 'clone');
    await fill(clone);
    const before = await reserved();
    const to = { instanceId: newId(), slug: 'clone', customerId: 'c-2000' };
    const { uuid, ready } = await becomeInstance(clone, to);
    const { footprintId, database, role, secret } = clone;
    const place = { footprintId, database, role, secret, host: 'clone.localhost', plan: source.plan };
    const { instanceId, customerId } = to;
    expect(ready).toMatchObject({ instanceId, customerId, claim: 'footprint', uuid, ...place });
    expect(await reserved()).toEqual(before);
    const parameters = await mesh.sql<{ key: string; value: string }>(
      `SELECT key, value FROM ir_config_parameter WHERE key LIKE 'web.base.url%' ORDER BY key`,
      [],
      database,
    );
    expect(parameters).toEqual([
      { key: 'web.base.url', value: ready.url },
      { key: 'web.base.url.freeze', value: 'True' },
    ]);
    const users = await mesh.sql<{ login: string }>('SELECT login FROM res_users WHERE id = 2', [], database);
    expect(users).toEqual([{ login: 'from-the-backup' }]);
    for (const kind of ['Deployment', 'Service', 'IngressRoute', 'PersistentVolumeClaim'])
      expect(
        (await mesh.cluster.get({ kind, namespace: clone.namespace, name: clone.volumeClaim }))!.metadata!.labels,
      ).toMatchObject({ 'instance-id': to.instanceId, 'customer-id': to.customerId });

    expect(await answerTo(await remove(footprintId))).toMatchObject({ code: 'IN_USE' });
    const approval = mesh.purgeApproval(ready);
    await mesh.publish(approval, { key: 'instance.purge-approved.v1', as: 'lifecycle' });
    await mesh.sayThatSnapshotsAreGone(approval.data);
    await ended(to.instanceId);
    expect(await whatIsLeftOf(footprintId)).toEqual([]);
    await waitFor('its room to be free', async () => (await reserved())[0] === before[0]! - 1);
  });

  it('a clone whose name is another’s is refused by the id of what began it', async () => {
    const clone = await makeFootprint(source, 'clone');
    const to = { instanceId: newId(), slug: 'source', customerId: 'c-2000' };
    const { correlationid } = await sayRestored(clone, to);
    expect(await mesh.refused(correlationid)).toMatchObject({ code: 'slug-taken', instanceId: to.instanceId });
    expect(await answerTo(await remove(clone.footprintId))).toMatchObject({ key: 'footprint.removed.v1' });
  });

  async function sayRestored(clone: Ready, to: { instanceId: string; slug: string; customerId: string }) {
    const key = 'restore.completed.v1';
    const restoreId = newId();
    const fact = { specversion: '1.0', id: newId(), source: 'backup', type: `mesh.${key}`, correlationid: newId() };
    const data = {
      ...{ restoreId, instanceId: source.instanceId, backupId: newId(), mode: 'clone', to },
      ...{ footprintId: clone.footprintId, durationMs: 1, rows: 1, files: 0 },
    };
    await mesh.publish({ ...fact, subject: restoreId, sequence: Date.now(), data }, { key, as: 'backup' });
    return fact;
  }

  async function becomeInstance(clone: Ready, to: { instanceId: string; slug: string; customerId: string }) {
    const { correlationid } = await sayRestored(clone, to);
    const [row] = await mesh.sql<{ value: string }>(
      `SELECT value FROM ir_config_parameter WHERE key = 'database.uuid'`,
      [],
      clone.database,
    );
    const ready = await mesh.ready(to.instanceId);
    const [placed] = mesh.said('instance.placed.v1', to.instanceId);
    expect(placed!.envelope.data).toMatchObject({ claim: 'footprint', requestId: correlationid });
    return { uuid: row!.value, ready };
  }
});

async function ended(instanceId: string) {
  const said = () => mesh.said('instance.terminated.v1', instanceId)[0];
  return await mesh.explained(waitFor(`the end of ${instanceId}`, said, { timeoutMs: 60_000 }));
}

describe('an instance that is switched', () => {
  it('lives in the new footprint, which only its purge removes; the old one goes when lifecycle says so', async () => {
    const ready = await makeInstance('switched');
    const { footprintId: old, instanceId } = ready;
    const next = await makeFootprint(ready, 'restore');
    const before = await reserved();
    // Where it lives nobody has said yet: whoever asks is not believed, and not refused.
    const early = await remove(old, 'lifecycle');
    await waitFor('it to come again', async () => {
      const text = await mesh.sql(`SELECT 1 FROM provisioner.inbox WHERE message_id = $1`, [early]);
      return text.length === 0 && mesh.services.logOf('provisioner').includes('it is not known here where instance');
    });
    expect(await answerTo(await remove(old))).toMatchObject({ code: 'IN_USE' });
    await switchTo(ready, next);
    expect(await answerTo(await remove(next.footprintId))).toMatchObject({ code: 'IN_USE' });
    expect(await answerTo(await remove(next.footprintId, 'lifecycle'))).toMatchObject({ code: 'IN_USE' });
    const removal = await answerTo(early);
    expect(removal).toMatchObject({ key: 'footprint.removed.v1', footprintId: old, purpose: 'instance' });
    expect(mesh.said('instance.terminated.v1', instanceId)).toEqual([]);
    expect(await whatIsLeftOf(old)).toEqual([]);
    await waitFor('its old room to be free', async () => (await reserved())[0] === before[0]! - 1);

    const { footprintId, database } = next;
    const approval = mesh.purgeApproval({ ...ready, footprintId, database });
    await mesh.publish(approval, { key: 'instance.purge-approved.v1', as: 'lifecycle' });
    await waitFor('the wait for its snapshots', async () => {
      const [row] = await mesh.sql<{ reason: string }>(
        `SELECT condition->>'reason' AS reason FROM provisioner.footprint WHERE footprint_id = $1`,
        [footprintId],
      );
      return row!.reason === 'SnapshotsRemain';
    });
    expect(await whatIsLeftOf(footprintId)).toEqual(['PersistentVolumeClaim', 'Secret']);
    await mesh.sayThatSnapshotsAreGone({ ...approval.data, approvalId: newId() });
    await mesh.sayThatSnapshotsAreGone(approval.data);
    await ended(instanceId);
    expect(await whatIsLeftOf(footprintId)).toEqual([]);
    await waitFor('all its room to be free', async () => (await reserved())[0] === before[0]! - 2);
  });

  it('and switched back, is purged when the other one is gone too', async () => {
    const ready = await makeInstance('back');
    const next = await makeFootprint(ready, 'restore');
    const before = await reserved();
    await switchTo(ready, next);
    await switchTo({ ...ready, footprintId: next.footprintId }, ready);
    const approval = mesh.purgeApproval(ready);
    await mesh.publish(approval, { key: 'instance.purge-approved.v1', as: 'lifecycle' });
    await mesh.sayThatSnapshotsAreGone(approval.data);
    await waitFor('the wait for the other one', async () => {
      const [row] = await mesh.sql<{ reason: string }>(
        `SELECT condition->>'reason' AS reason FROM provisioner.footprint WHERE footprint_id = $1`,
        [ready.footprintId],
      );
      return row!.reason === 'OtherFootprintRemains';
    });
    expect(await answerTo(await remove(next.footprintId, 'lifecycle'))).toMatchObject({ purpose: 'restore' });
    await ended(ready.instanceId);
    await waitFor('all its room to be free', async () => (await reserved())[0] === before[0]! - 2);
  });
});

describe('where there is no room', () => {
  it('a footprint is refused now, and a proof leaves the last place to customers', async () => {
    await mesh.stop();
    mesh = await TestMesh.start({ ...withoutBackup, placesPerCell: 2, maxCells: 1 });
    const ready = await makeInstance('only');
    const noRoom = { key: 'footprint.refused.v1', code: 'NO_ROOM', fault: 'platform' };
    const proof = wishOf(ready, 'proof');
    expect(await answerTo(await ask('footprint.requested.v1', proof))).toMatchObject(noRoom);
    const { footprintId } = await makeFootprint(ready, 'restore');
    const second = wishOf(ready, 'restore');
    expect(await answerTo(await ask('footprint.requested.v1', second))).toMatchObject(noRoom);
    expect(await reserved()).toEqual([2, 2]);
    // It may be asked for again, and is placed when there is room.
    await answerTo(await remove(footprintId));
    await waitFor('the room to be free', async () => (await reserved())[0] === 1);
    expect(await answerTo(await ask('footprint.requested.v1', second))).toMatchObject({ key: 'footprint.placed.v1' });
  });
});
