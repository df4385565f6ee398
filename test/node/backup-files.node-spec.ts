import { readdirSync, readFileSync } from 'node:fs';
import { buffer } from 'node:stream/consumers';
import { parseEnv } from 'node:util';
import { gunzipSync } from 'node:zlib';
import { afterAll, beforeAll, expect, it } from '@jest/globals';
import type { V1PersistentVolumeClaim, V1Pod, V1Secret } from '@kubernetes/client-node';
import { newId } from '#contracts/index.js';
import { KubernetesClient, type KubernetesObject } from '#kubernetes/index.js';
import { filesImageOf } from '#local/node/files-image.js';
import { State } from '#local/state.js';
import { Log } from '#observability/index.js';
import { backupNames, backupSelector } from '#odoo/index.js';
import type { JobQueue } from '#persistence/index.js';
import { waitFor } from '#testing/wait-for.js';
import type { JobState, Site } from '../../apps/backup/src/application/ports.js';
import { KubernetesCellFiles } from '../../apps/backup/src/infrastructure/kubernetes-cell-files.js';
import { S3ObjectStore } from '../../apps/backup/src/infrastructure/s3-object-store.js';
import { stackEnvironment } from '../e2e/config.js';
import { TestMesh } from '../e2e/test-mesh.js';
import { executeIn, LivingInstance } from './living-instance.js';

let mesh: TestMesh;
let source: LivingInstance;
let target: LivingInstance;
let client: KubernetesClient;
let cell: KubernetesCellFiles;
let store: S3ObjectStore;
/** Ids of jobs that a change in the cell has hurried. */
const hurried = new Set<string>();
const fence = () => {};

beforeAll(async () => {
  mesh = await TestMesh.start({ start: ['capacity-planner', 'provisioner', 'lifecycle', 'api-gateway'] });
  [source, target] = (await LivingInstance.make(mesh, { slug: 'source' }, { slug: 'target' })) as [
    LivingInstance,
    LivingInstance,
  ];
  const { backupStorage: access } = mesh.installed;
  const stack = stackEnvironment();
  // With the rights of the service and no others.
  const { MESH_KUBECONFIG: kubeconfig } = parseEnv(readFileSync(mesh.installed.environmentFile('backup'), 'utf8'));
  client = new KubernetesClient({ kubeconfig: kubeconfig! });
  cell = new KubernetesCellFiles(
    client,
    {
      async hurry(_: string, id: string) {
        hurried.add(id);
      },
    } as JobQueue,
    {
      meshName: mesh.name,
      storageClass: stack.MESH_STORAGE_CLASS,
      snapshotClass: 'mesh-snapshots',
      snapshotAccess: 'ReadOnlyMany',
      filesImage: filesImageOf(new State(stack.MESH_STATE)).name,
      jobDeadlineSeconds: 120,
      objectStoreAccess: {
        MESH_S3_ENDPOINT: access.endpoint,
        MESH_S3_REGION: access.region,
        MESH_S3_BUCKET: access.bucket,
        MESH_S3_ACCESS_KEY: access.accessKey,
        MESH_S3_SECRET_KEY: access.secretKey,
      },
      nodesRun: true,
    },
    new Log({ service: 'test' }),
  );
  store = new S3ObjectStore({ ...access, encryption: 'none', objectLock: 'none', deadlineMs: 30_000 });
  cell.watch(source.ready.namespace);
});
afterAll(async () => {
  cell?.onApplicationShutdown();
  await client?.close();
  await mesh?.stop();
});

const siteOf = ({ ready }: LivingInstance): Site => ready;
const files = 'm/c/i/files/';
const indexOf = (id: string, attempt: string) => `m/c/i/backups/${id}/files-${attempt}.ndjson.gz`;

/** As a reconciler looks: again and again. */
async function ended(what: string, look: () => Promise<JobState>): Promise<JobState> {
  let last = '';
  return await waitFor(
    `${what} to end`,
    async () => {
      const state = await look();
      last = 'message' in state ? state.message : '';
      return state.state === 'runs' ? undefined : state;
    },
    { timeoutMs: 120_000 },
  ).catch((error) => {
    throw new Error(`${error.message}; last: ${last}`);
  });
}

async function frozen(id: string, attempt = '1'): Promise<void> {
  const look = async () => (await cell.snapshot(siteOf(source), id, attempt, fence)) === 'ready';
  await waitFor('the snapshot', look, { timeoutMs: 60_000 });
}

const saved = async (id: string, attempt = '1') =>
  await ended('the save', () =>
    cell.save(
      siteOf(source),
      id,
      attempt,
      { folder: source.ready.database, files, index: indexOf(id, attempt) },
      fence,
    ),
  );

async function namesIn(key: string): Promise<string[]> {
  const text = gunzipSync(await buffer(await store.get(key))).toString();
  return text
    .split('\n')
    .filter(Boolean)
    .map((line) => JSON.parse(line).name);
}

async function contents(): Promise<string[]> {
  const keys: string[] = [];
  for await (const { key } of store.list(files)) keys.push(key);
  return keys;
}

const tidied = async (id: string) =>
  await waitFor('nothing of it to be left', () => cell.tidy(siteOf(source), id, fence), { timeoutMs: 60_000 });

it('the files of one moment go to the store, and the index names every one of them', async () => {
  const id = newId();
  const uploaded = [await source.upload(), await source.upload()];
  const before = await source.filesIn(source.ready.database);
  await frozen(id);
  const later = await source.upload();
  expect(await saved(id)).toEqual({ state: 'done', files: before.length, bytes: expect.any(Number) });
  const names = await namesIn(indexOf(id, '1'));
  expect(names).toEqual(before);
  expect(names).toEqual(expect.arrayContaining(uploaded));
  expect(names).not.toContain(later);
  expect((await contents()).length).toBe(before.length);
  expect(hurried).toContain(id);
  await tidied(id);
});

it('a second backup sends only what is new, of a snapshot of its own attempt', async () => {
  const id = newId();
  await frozen(id, '1');
  const late = await source.upload();
  await frozen(id, '2');
  const sent = new Set(await contents());
  expect(await saved(id, '2')).toMatchObject({ state: 'done' });
  expect(await namesIn(indexOf(id, '2'))).toContain(late);
  const added = (await contents()).filter((key) => !sent.has(key));
  // That one, and the one of the test before that came after its moment.
  expect(added.length).toBe(2);
  await tidied(id);
});

it('they fill the volume of another footprint, and are equal there; again, that is no work', async () => {
  const id = newId();
  const restore = newId();
  await frozen(id);
  await saved(id);
  const fill = () =>
    cell.fill(siteOf(target), restore, { folder: 'restored', files, indexes: [indexOf(id, '1')] }, fence);
  const names = await namesIn(indexOf(id, '1'));
  expect(await ended('the fill', fill)).toMatchObject({ state: 'done', files: names.length });
  expect(await target.filesIn('restored')).toEqual(names);
  await tidied(restore);
  expect(await ended('the fill', fill)).toMatchObject({ state: 'done', files: names.length });
  await Promise.all([tidied(id), tidied(restore)]);
});

it('one flipped byte in the store is found and named', async () => {
  const id = newId();
  const restore = newId();
  const name = await source.upload();
  await frozen(id);
  await saved(id);
  const key = `${files}${name}`;
  const content = await buffer(await store.get(key));
  content[4711]! ^= 1;
  await store.putSmall(key, content, {});
  const fill = () =>
    cell.fill(siteOf(target), restore, { folder: 'flipped', files, indexes: [indexOf(id, '1')] }, fence);
  expect(await ended('the fill', fill)).toEqual({
    state: 'failed',
    code: 'CORRUPTED',
    message: expect.stringContaining(key),
    damaged: [name.split('/').at(-1)],
  });
  expect(await target.filesIn('flipped')).not.toContain(name);
  await store.remove([key]);
  await Promise.all([tidied(id), tidied(restore)]);
});

it('Odoo says whether it opens a database with its files', async () => {
  const [good, bad] = [newId(), newId()];
  const { template, secret } = target.ready;
  const load = (id: string) => ended('the load', () => cell.load(siteOf(target), id, template.image, secret, fence));
  expect(await load(good)).toMatchObject({ state: 'done' });
  await mesh.sql(
    `INSERT INTO ir_config_parameter (key, value) VALUES ('odoo_stand_in.faults', 'start')`,
    [],
    target.ready.database,
  );
  expect(await load(bad)).toEqual({
    state: 'failed',
    code: 'ODOO_DOES_NOT_LOAD',
    message: expect.stringContaining('the fault "start" is switched on'),
  });
  await target.setFaults();
  await Promise.all([tidied(good), tidied(bad)]);
});

it('what carries files reaches the store, and neither its database nor the cluster', async () => {
  const id = newId();
  await frozen(id);
  // A pod like that of a save, of this image, that waits instead.
  const [host, port] = [stackEnvironment().MESH_NODE_ADDRESS!, new URL(mesh.installed.shardUrl).port];
  const { namespace, cell: of, footprintId } = source.ready;
  const names = backupNames(id, '1');
  const labels = { app: 'odoo-files', 'mesh.odoo/footprint': footprintId, 'mesh.odoo/cell': of };
  const restricted = { allowPrivilegeEscalation: false, capabilities: { drop: ['ALL'] } };
  const pod = {
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: { name: names.save, namespace, labels },
    spec: {
      automountServiceAccountToken: false,
      securityContext: { runAsNonRoot: true, runAsUser: 10001, seccompProfile: { type: 'RuntimeDefault' } },
      containers: [
        {
          name: 'files',
          image: filesImageOf(new State(stackEnvironment().MESH_STATE)).name,
          command: ['/usr/bin/node', '-e', 'setInterval(() => {}, 1000)'],
          securityContext: restricted,
        },
      ],
    },
  };
  await mesh.cluster.create(pod as KubernetesObject, 'test');
  const ref = { kind: 'Pod', name: names.save, namespace };
  await waitFor(
    'the pod',
    async () => (await mesh.cluster.get<V1Pod & KubernetesObject>(ref))?.status?.phase === 'Running',
    {
      timeoutMs: 60_000,
    },
  );
  const reaches = async (to: string) => {
    const [address, at] = to.split(':') as [string, string];
    const script = `const s = require('net').connect({ host: '${address}', port: ${at}, timeout: 2000 });
      s.on('connect', () => process.exit(0)).on('error', () => process.exit(1)).on('timeout', () => process.exit(1))`;
    const run = await executeIn({ namespace, name: names.save, container: 'files' }, ['/usr/bin/node', '-e', script]);
    return run.code === 0;
  };
  const api = new URL(client.server.url);
  await waitFor('its policy', () => reaches(new URL(mesh.installed.backupStorage.endpoint).host));
  expect(await reaches(`${host}:${port}`)).toBe(false);
  expect(await reaches(`${host}:${api.port}`)).toBe(false);
  const { metadata } = (await mesh.cluster.get(ref))!;
  await mesh.cluster.delete(ref, { uid: metadata!.uid! });
  await tidied(id);
});

it('nothing is left of what was tidied: no Job, pod, claim, snapshot, nor volume; instances have theirs', async () => {
  const id = newId();
  await frozen(id);
  await saved(id);
  const { namespace, footprintId, volumeClaim } = source.ready;
  const copy = (
    await mesh.cluster.list<V1PersistentVolumeClaim & KubernetesObject>(
      'PersistentVolumeClaim',
      namespace,
      backupSelector(id),
    )
  )[0]!;
  const volume = { kind: 'PersistentVolume', name: copy.spec!.volumeName! };
  expect(await mesh.cluster.get(volume)).toBeDefined();
  await tidied(id);
  await waitFor('its volume to be gone', async () => (await mesh.cluster.get(volume)) === undefined);
  for (const kind of ['Job', 'PersistentVolumeClaim', 'VolumeSnapshot'])
    expect(await mesh.cluster.list(kind, namespace, 'mesh.odoo/backup')).toEqual([]);
  const snapshots = new State(stackEnvironment().MESH_STATE).path('node', 'volumes', 'snapshots');
  await waitFor('the disk to be free', () => readdirSync(snapshots).length === 0);
  expect(await mesh.cluster.get({ kind: 'PersistentVolumeClaim', name: volumeClaim, namespace })).toBeDefined();
  expect((await source.page()).status).toBe(200);

  const kept = newId();
  await frozen(kept);
  await waitFor('the snapshots of a volume to be gone', () => cell.removeSnapshots({ namespace, footprintId }, fence));
  const secret = await mesh.cluster.get<V1Secret & KubernetesObject>({
    kind: 'Secret',
    name: 'mesh-object-store',
    namespace,
  });
  expect(Object.keys(secret!.data!)).toContain('MESH_S3_SECRET_KEY');
});
