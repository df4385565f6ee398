import { setTimeout as pause } from 'node:timers/promises';
import { gunzipSync } from 'node:zlib';
import { DeleteObjectCommand, GetObjectCommand, HeadObjectCommand, S3Client } from '@aws-sdk/client-s3';
import { afterAll, beforeAll, expect, it } from '@jest/globals';
import type { V1PersistentVolume, V1Secret } from '@kubernetes/client-node';
import { newId } from '#contracts/index.js';
import type { KubernetesObject } from '#kubernetes/index.js';
import { programs } from '#local/mesh-install.js';
import { footprintNames, hashPassword, objectStoreSecret } from '#odoo/index.js';
import { waitFor } from '#testing/wait-for.js';
import { Backups } from '../e2e/backups.js';
import { Lifecycle } from '../e2e/lifecycle.js';
import { TestMesh } from '../e2e/test-mesh.js';
import { Browser } from './browser.js';
import { LivingInstance } from './living-instance.js';

let mesh: TestMesh;
let lifecycle: Lifecycle;
let backups: Backups;
let restored: LivingInstance;
let cloned: LivingInstance;
let rehearsed: LivingInstance;
/** They wait for much, and are at it while the others are at work. */
let whileItClones: Promise<string[]>;
let whileItRehearses: Promise<string[]>;
const password = 'correct horse';
const to = { instanceId: newId(), slug: 'another', customerId: 'c-1042' };
let rehearsal: string;
/** Of one instance, as the first test has made it. */
let backupId: string;
let backedUp: Contents;
let later: Contents;

beforeAll(async () => {
  const adminPasswordHash = await hashPassword(password);
  mesh = await TestMesh.start({ start: programs, backup: { MESH_S3_OBJECT_LOCK: 'governance' } });
  lifecycle = new Lifecycle(mesh);
  backups = new Backups(mesh);
  const slugs = ['restored', 'cloned', 'rehearsed'];
  [restored, cloned, rehearsed] = (await LivingInstance.make(
    mesh,
    ...slugs.map((slug) => ({ slug, adminPasswordHash })),
  )) as [LivingInstance, LivingInstance, LivingInstance];
  for (const one of [restored, cloned]) {
    await one.sql('CREATE TABLE public.work (said text)');
    await one.sql(`ALTER TABLE public.work OWNER TO "${one.ready.role}"`);
    await work(one, 'before');
  }
  whileItRehearses = seenDuring(rehearsed, rehearse);
  whileItRehearses.catch(() => {});
  whileItClones = seenDuring(cloned, clone);
  whileItClones.catch(() => {});
});
afterAll(async () => {
  backups?.close();
  await mesh?.stop();
});

interface Contents {
  readonly said: readonly string[];
  readonly uploaded: readonly string[];
}

/** A row, and a file that another row names. */
async function work(one: LivingInstance, said: string): Promise<string> {
  await one.sql('INSERT INTO public.work VALUES ($1)', [said]);
  return await one.upload();
}

/** What people have made in it. All files that its database names are there, and are what their names say. */
async function contentsOf(one: LivingInstance): Promise<Contents> {
  const said = await one.sql<{ said: string }>('SELECT said FROM public.work ORDER BY said');
  const files = await one.sql<{ name: string; uploaded: boolean }>(
    `SELECT store_fname AS name, name = 'uploaded' AS uploaded FROM ir_attachment WHERE store_fname IS NOT NULL ORDER BY 1`,
  );
  expect(await one.filesIn(one.ready.database)).toEqual(expect.arrayContaining(files.map(({ name }) => name)));
  return {
    said: said.map((row) => row.said),
    uploaded: files.filter(({ uploaded }) => uploaded).map(({ name }) => name),
  };
}

/** Where it lives now, by lifecycle's last word. */
function asItIs({ ready }: LivingInstance): LivingInstance {
  const { footprintId, database, secret, volumeClaim, host } = lifecycle.stateOf(ready.instanceId)!;
  const { role } = footprintNames(mesh.name, footprintId);
  return new LivingInstance(mesh, { ...ready, footprintId, database, role, secret, volumeClaim, host });
}

/** What a browser gets at its host meanwhile, each once: `200`, or the status and the title of a page of the edge's. */
async function seenDuring({ ready }: LivingInstance, doing: () => Promise<unknown>): Promise<string[]> {
  const seen = new Set<string>();
  let over = false;
  const browser = new Browser(ready.host);
  const looking = (async () => {
    while (!over) {
      const { status, body } = await browser.get('/web/login', { accept: 'text/html' });
      const [, title = body.slice(0, 100)] = /<h1>(.*?)<\/h1>/.exec(body) ?? [];
      seen.add(status === 200 ? '200' : `${status} ${title}`);
      await pause(100); // more often would be refused: a host has its limit
    }
  })();
  try {
    await doing();
  } finally {
    over = true;
    await looking;
  }
  return [...seen].sort();
}

const logIn = ({ ready }: LivingInstance) =>
  new Browser(ready.host).logIn(ready.database, 'owner@acme.example', password);

const restoredTo = async (restoreId: string) =>
  await backups.heard(restoreId, 'restore.completed', 'restore.failed', 'restore.refused');

const deleteFile = async (one: LivingInstance, name: string) =>
  expect(await one.execute('rm', `/var/lib/odoo/filestore/${one.ready.database}/${name}`)).toMatchObject({ code: 0 });

async function clone(): Promise<void> {
  await cloned.sql('UPDATE ir_cron SET active = true');
  const id = await backups.completed(cloned.ready.instanceId);
  await restoredTo(await backups.restore(cloned.ready.instanceId, id, 'clone', { to }));
  await mesh.ready(to.instanceId, 90_000);
}

/** Of what its log says, and its exit code does not. */
async function rehearse(): Promise<void> {
  const { instanceId, template } = rehearsed.ready;
  await rehearsed.sql(`INSERT INTO ir_config_parameter (key, value) VALUES ('odoo_stand_in.faults', 'view')`);
  rehearsal = await lifecycle.ask('upgrade', instanceId, { to: template.image, rehearse: true });
  await lifecycle.answerTo(rehearsal, 170_000);
}

it('a backup reads every file, and its proof restores them, lets Odoo open them, and says how long that takes', async () => {
  const { instanceId, database } = restored.ready;
  const uploaded = await restored.upload();
  backupId = await backups.ask(instanceId, 'pre-upgrade');
  const completed = await backups.heard(backupId, 'backup.completed', 'backup.failed');
  backedUp = await contentsOf(restored);
  const { files } = await backups.manifest(restored.ready, backupId);
  const index = gunzipSync(await backups.read(files.index)).toString();
  const names = index
    .split('\n')
    .filter(Boolean)
    .map((line) => JSON.parse(line).name);
  expect(names).toEqual(await restored.filesIn(database));
  expect(names).toContain(uploaded);
  expect(completed).toMatchObject({ fact: 'backup.completed', files: names.length, filesBytes: files.bytes });
  const proof = await backups.proved(backupId);
  expect(proof).toMatchObject({ fact: 'backup.verified', depth: 'full', filesSeen: 'read', files: names.length });
  expect(proof.rtoMs).toBeGreaterThan(0);
});

it('nobody removes anything of a backup before its time, not even a content that it shares with others', async () => {
  const { database, files } = await backups.manifest(restored.ready, backupId);
  const contents = (await restored.filesIn(restored.ready.database)).map((name) => `${files.prefix}${name}`);
  expect(backedUp.uploaded.map((name) => `${files.prefix}${name}`).filter((key) => !contents.includes(key))).toEqual(
    [],
  );
  for (const key of [database.key, database.fingerprint.key, files.index, ...contents])
    await expect(backups.destroy(key)).rejects.toMatchObject({ name: 'AccessDenied' });
});

it('in place: rows and files are those of the backup, the old password logs in, and its host answers all the time', async () => {
  const { instanceId, footprintId } = restored.ready;
  await work(restored, 'after');
  later = await contentsOf(restored);
  const seen = await seenDuring(restored, async () => {
    const answer = await restoredTo(await backups.restore(instanceId, backupId, 'in-place'));
    expect(answer).toMatchObject({ fact: 'restore.completed', files: expect.any(Number) });
    await lifecycle.state(instanceId, 'running');
  });
  const now = asItIs(restored);
  expect(now.ready.footprintId).not.toBe(footprintId);
  expect(await contentsOf(now)).toEqual(backedUp);
  expect(await logIn(now)).toMatchObject({ username: 'owner@acme.example' });
  expect(seen.filter((page) => !['200', '503 Under maintenance', '503 Odoo is starting'].includes(page))).toEqual([]);
  expect(seen).toContain('503 Under maintenance');
  expect(mesh.said('instance.released.v1', instanceId).at(-1)!.envelope.data).toMatchObject({ verified: 'http' });
});

it('switched back it has what was written later', async () => {
  const { instanceId, footprintId } = restored.ready;
  const back = await lifecycle.do('switch-back', instanceId, { footprintId });
  expect(back).toMatchObject({ fact: 'switched-back', footprintId, verified: 'http' });
  expect(await contentsOf(asItIs(restored))).toEqual(later);
  expect(await logIn(asItIs(restored))).toBeDefined();
});

it('files alone: those that were deleted are there again, and no row is another', async () => {
  for (const name of backedUp.uploaded) await deleteFile(asItIs(restored), name);
  const answer = await restoredTo(await backups.restore(restored.ready.instanceId, backupId, 'files-only'));
  expect(answer).toMatchObject({ fact: 'restore.completed' });
  await lifecycle.state(restored.ready.instanceId, 'running');
  expect(await contentsOf(asItIs(restored))).toEqual(later);
});

it('a clone answers at a host of its own, is somebody else, does nothing by itself, and has the same files', async () => {
  expect(await whileItClones).toEqual(['200']);
  const ready = await mesh.ready(to.instanceId);
  const { host, uuid, database } = cloned.ready;
  expect(ready).toMatchObject({ claim: 'footprint', verified: 'http' });
  expect([ready.host, ready.uuid, ready.database]).not.toEqual(expect.arrayContaining([host, uuid, database]));
  const one = new LivingInstance(mesh, ready);
  expect((await one.page()).status).toBe(200);
  expect(await one.sql(`SELECT cron_name FROM ir_cron WHERE active AND cron_name NOT LIKE 'Base: Auto%'`)).toEqual([]);
  expect(await contentsOf(one)).toEqual(await contentsOf(cloned));
  expect(await logIn(one)).toBeDefined();
});

/** A backup that has a damaged content. */
let spoiled: string;

it('one flipped byte of a file is found, named and set aside, and the instance is as it was', async () => {
  const { ready } = cloned;
  await whileItClones;
  const before = await contentsOf(cloned);
  const [id] = mesh.said('backup.completed.v1', ready.instanceId).map(({ envelope }) => envelope.data.backupId);
  const key = `${backups.prefixOf(ready)}files/${before.uploaded[0]}`;
  await backups.flipOneByte(key);
  const answer = await restoredTo(await backups.restore(ready.instanceId, id, 'in-place'));
  expect(answer).toMatchObject({ fact: 'restore.failed', code: 'CORRUPTED', message: expect.stringContaining(key) });
  expect(lifecycle.stateOf(ready.instanceId)).toMatchObject({ state: 'running', footprintId: ready.footprintId });
  expect(mesh.said('instance.quiesced.v1', ready.instanceId)).toEqual([]);
  expect(await contentsOf(cloned)).toEqual(before);
  expect((await cloned.page()).status).toBe(200);

  // A proof finds it too, and it is set aside; that instance has it still, so that the next backup brings it again.
  spoiled = await backups.ask(ready.instanceId, 'pre-upgrade');
  const proof = await backups.heard(spoiled, 'backup.verified', 'backup.failed');
  expect(proof).toMatchObject({ fact: 'backup.failed', code: 'CORRUPTED', message: expect.stringContaining(key) });
  await waitFor('it to be set aside', async () => (await backups.objects(key)).length === 0, { timeoutMs: 60_000 });
  expect(await backups.objects(`${backups.prefixOf(ready)}damaged/`)).toHaveLength(1);
});

it('the next backup is good; a file that its instance had lost before is counted, and a bundle of assets is not', async () => {
  const { instanceId } = cloned.ready;
  await whileItClones;
  const name = await cloned.upload();
  const bundle = await cloned.upload();
  await cloned.sql(`UPDATE ir_attachment SET url = '/web/assets/1/lost.js' WHERE store_fname = $1`, [bundle]);
  for (const lost of [name, bundle]) await deleteFile(cloned, lost);
  const id = await backups.ask(instanceId, 'pre-upgrade');
  const proof = await backups.heard(id, 'backup.verified', 'backup.failed');
  expect(proof).toMatchObject({ fact: 'backup.verified', depth: 'full', filesSeen: 'read', filesMissing: 1 });
  // What was damaged was brought again with it.
  expect(await backups.heard(spoiled, 'backup.verified')).toMatchObject({ depth: 'full', filesSeen: 'read' });
  await cloned.sql('DELETE FROM ir_attachment WHERE store_fname = ANY($1)', [[name, bundle]]);
});

it('the key by which Jobs carry files reads no dump and removes nothing', async () => {
  const { namespace } = restored.ready;
  const secret = await mesh.cluster.get<V1Secret & KubernetesObject>({
    ...{ kind: 'Secret', name: objectStoreSecret, namespace },
  });
  const given = (name: string) => Buffer.from(secret!.data![name]!, 'base64').toString();
  const store = new S3Client({
    ...{ endpoint: mesh.installed.backupStorage.endpoint, region: given('MESH_S3_REGION'), forcePathStyle: true },
    credentials: { accessKeyId: given('MESH_S3_ACCESS_KEY'), secretAccessKey: given('MESH_S3_SECRET_KEY') },
  });
  try {
    const Bucket = given('MESH_S3_BUCKET');
    const { database, files } = await backups.manifest(restored.ready, backupId);
    const index = { Bucket, Key: files.index };
    expect((await store.send(new HeadObjectCommand(index))).ContentLength).toBeGreaterThan(0);
    const refused = [
      store.send(new GetObjectCommand({ Bucket, Key: database.key })),
      store.send(new DeleteObjectCommand({ Bucket, Key: database.key })),
      store.send(new DeleteObjectCommand(index)),
    ];
    for (const one of await Promise.allSettled(refused))
      expect(one).toMatchObject({ status: 'rejected', reason: { name: 'AccessDenied' } });
  } finally {
    store.destroy();
  }
});

it('an upgrade is rehearsed on a clone, by exit code and log, while the instance runs on and is not touched', async () => {
  expect(await whileItRehearses).toEqual(['200']);
  expect(await lifecycle.answerTo(rehearsal)).toMatchObject({
    ...{ fact: 'upgrade-failed', code: 'UPDATE_NOT_GOOD', rolledBack: true },
    log: expect.stringMatching(/invalid custom view/),
  });
  const { instanceId, footprintId, database } = rehearsed.ready;
  expect(lifecycle.stateOf(instanceId)).toMatchObject({ state: 'running', footprintId, database });
});

it('at its end it has a proved backup, and nothing else is left of it: not in the cell, not on the shard', async () => {
  const { instanceId, namespace } = restored.ready;
  const { finalBackupId } = await lifecycle.do('termination', instanceId, { at: new Date().toISOString() });
  await mesh.explained(
    waitFor('the end', () => mesh.said('instance.terminated.v1', instanceId)[0], { timeoutMs: 120_000 }),
  );
  expect(backups.all(finalBackupId, 'backup.verified')).toMatchObject([
    { depth: 'full', filesSeen: 'read', offSite: true },
  ]);
  const living = [cloned.ready, rehearsed.ready, await mesh.ready(to.instanceId)];
  await mesh.explained(
    waitFor('nothing to be left', async () => {
      const left = await thatIsNotOf(living, namespace);
      if (left.length > 0) throw new Error(left.join(', '));
      return true;
    }),
  );
  for (const { host } of living) expect(await new Browser(host).status('/web/login')).toBe(200);
});

/** Neither of what it lived in, nor of where its backups were proved and upgrades rehearsed. */
async function thatIsNotOf(living: readonly { footprintId: string }[], namespace: string): Promise<string[]> {
  const footprints = living.map(({ footprintId }) => footprintId);
  const names = footprints.map((id) => footprintNames(mesh.name, id));
  const [claims, databases] = [names.map(({ object }) => object), names.map(({ database }) => database)];
  const objects = await Promise.all(
    ['Deployment', 'Pod', 'Job', 'Secret', 'Service', 'PersistentVolumeClaim', 'VolumeSnapshot', 'IngressRoute'].map(
      (kind) => mesh.cluster.list(kind, namespace, `mesh.odoo/footprint,mesh.odoo/footprint notin (${footprints})`),
    ),
  );
  const works = await Promise.all(
    ['Job', 'VolumeSnapshot'].map((kind) => mesh.cluster.list(kind, namespace, 'mesh.odoo/backup')),
  );
  const volumes = await mesh.cluster.list<V1PersistentVolume & KubernetesObject>('PersistentVolume', undefined);
  const others = volumes.filter(({ spec }) => {
    const { namespace: of, name = '' } = spec?.claimRef ?? {};
    return of === namespace && !claims.includes(name);
  });
  const onShard = await mesh.sql<{ name: string }>(
    `SELECT name FROM (SELECT datname::text AS name FROM pg_database UNION SELECT rolname::text FROM pg_roles) o
     WHERE starts_with(name, $1)`,
    [`${mesh.name}_o`],
  );
  return [
    ...[...objects, ...works, others].flat().map(({ kind, metadata }) => `${kind ?? ''} ${metadata!.name}`),
    ...onShard.map(({ name }) => name).filter((name) => !databases.includes(name)),
  ];
}
