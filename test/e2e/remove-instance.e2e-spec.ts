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
  ['with a database that is another’s', { database: 'postgres' }, /database postgres is not one of footprint/],
  ['with a Secret that is another’s', { secrets: ['mesh-tls'] }, /Secret mesh-tls is not one of footprint/],
])('an approval %s is parked and destroys nothing', async (_, change, reason) => {
  const ready = await makeInstance(`kept-${newId().slice(-6)}`);
  const message = mesh.purgeApproval(ready, change);
  await mesh.publish(message, { key, as: 'lifecycle' });
  expect(await parkedError(message.id)).toMatch(reason);
  expect(await isWhole(ready)).toBe(true);
});

/** A copy of its database, as an upgrade makes it, with a mark. */
async function copyDatabase({ database }: Ready, copy: string, mark: { mesh: string; footprint: string }) {
  const owner = `${mesh.name}_shard`;
  await mesh.sql(`CREATE DATABASE "${copy}" TEMPLATE "${database}" OWNER "${owner}"`);
  const comment = JSON.stringify({ ...mark, epoch: 1, state: 'owned' });
  await mesh.sql(`COMMENT ON DATABASE "${copy}" IS '${comment}'`);
}

const databasesOf = async ({ database }: Ready) =>
  (
    await mesh.sql<{ name: string }>(
      `SELECT datname AS name FROM pg_database WHERE starts_with(datname, $1)
       UNION ALL SELECT 'role' FROM pg_roles WHERE rolname = $1 ORDER BY name`,
      [database],
    )
  ).map(({ name }) => name);

test('a purge after an upgrade also takes the database that lives now, and every version of the Secret', async () => {
  const ready = await makeInstance('upgraded');
  const { database, namespace, volumeClaim, footprintId } = ready;
  const live = `${database}_2`;
  await copyDatabase(ready, live, { mesh: mesh.name, footprint: footprintId });
  const secrets = [1, 2].map((version) => `${volumeClaim}-v${version}`);
  const second = { apiVersion: 'v1', kind: 'Secret', metadata: { name: secrets[1]!, namespace } };
  await mesh.cluster.create(second, 'test');
  // Its role is still named in the rights of what is not its own.
  await mesh.sql(`GRANT CONNECT ON DATABASE "${mesh.name}_tpl_18_apps_en_us" TO "${database}"`);
  const approval = mesh.purgeApproval(ready, { database: live, secrets });
  await mesh.publish(approval, { key, as: 'lifecycle' });
  const said = () => mesh.said('instance.terminated.v1', ready.instanceId)[0];
  await mesh.explained(waitFor('the end', said, { timeoutMs: 60_000 }));
  expect(await databasesOf(ready)).toEqual([]);
  for (const name of secrets) expect(await mesh.cluster.get({ kind: 'Secret', name, namespace })).toBeUndefined();
});

test('a database with a stranger’s mark stays, and so does all that is left of the instance, and it is said why', async () => {
  const ready = await makeInstance('mistaken');
  const { database, footprintId } = ready;
  const strange = `${database}_3`;
  await copyDatabase(ready, strange, { mesh: mesh.name, footprint: newId() });
  const approval = mesh.purgeApproval(ready, { database: strange });
  await mesh.publish(approval, { key, as: 'lifecycle' });
  await waitFor('the reason', async () => {
    const [job] = await mesh.sql<{ last_error: string | null }>(
      `SELECT last_error FROM provisioner.job WHERE kind = 'footprint' AND key = $1`,
      [footprintId],
    );
    return job?.last_error?.includes(`a database ${strange} exists and does not carry the mark`);
  });
  expect(await databasesOf(ready)).toEqual(['role', database, strange]);
  expect(mesh.said('instance.terminated.v1', ready.instanceId)).toEqual([]);
  await mesh.sql(`DROP DATABASE "${strange}"`);
  const said = () => mesh.said('instance.terminated.v1', ready.instanceId)[0];
  await mesh.explained(waitFor('the end', said, { timeoutMs: 120_000 }));
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
