import { afterAll, beforeAll, expect, it } from '@jest/globals';
import type { V1Job, V1PersistentVolume, V1PersistentVolumeClaim } from '@kubernetes/client-node';
import { newId } from '#contracts/index.js';
import type { Obstacle } from '#footprints/index.js';
import { Forbidden, type KubernetesClient, type KubernetesObject, refOf } from '#kubernetes/index.js';
import { TestCluster } from '#kubernetes/test-cluster.fixture.js';
import { Log } from '#observability/index.js';
import { backupNames, backupSelector, cellManifests, clusterManifests, volumeRoleName } from '#odoo/index.js';
import type { JobQueue } from '#persistence/index.js';
import { stackAddresses } from '#testing/config.js';
import { waitFor } from '#testing/wait-for.js';
import type { JobState, Site } from '../application/ports.js';
import { KubernetesCellFiles } from './kubernetes-cell-files.js';

let cluster: TestCluster;
let client: KubernetesClient;
let site: Site;
let cell: KubernetesCellFiles;
const hurried = new Set<string>();
const fence = () => {};
const to = { folder: 'o1', files: 'm/c/i/files/', index: 'm/c/i/index' };

beforeAll(async () => {
  cluster = new TestCluster(stackAddresses().kubeconfig);
  const home = await cluster.namespace(`${cluster.name}-system`);
  const namespace = `${cluster.name}-c0`;
  cluster.removeLater({ kind: 'Namespace', name: namespace });
  for (const manifest of clusterManifests(cluster.name) as KubernetesObject[]) {
    cluster.removeLater(refOf(manifest));
    await cluster.admin.apply(manifest, 'test');
  }
  const account = [{ serviceAccount: 'backup', namespace: home }];
  const manifests = cellManifests({
    meshName: cluster.name,
    cell: 'c0',
    namespace,
    places: 10,
    footprintWriters: [],
    backupRunners: account,
    ingressNamespace: 'kube-system',
    clusterNetworks: [],
    databases: [],
  });
  for (const manifest of manifests as KubernetesObject[]) await cluster.admin.apply(manifest, 'test');
  const binding = {
    apiVersion: 'rbac.authorization.k8s.io/v1',
    kind: 'ClusterRoleBinding',
    metadata: { name: `${cluster.name}-backup` },
    roleRef: { apiGroup: 'rbac.authorization.k8s.io', kind: 'ClusterRole', name: volumeRoleName(cluster.name) },
    subjects: [{ kind: 'ServiceAccount', name: 'backup', namespace: home }],
  };
  cluster.removeLater(refOf(binding));
  await cluster.admin.apply(binding, 'test');
  client = cluster.client({ kubeconfig: cluster.kubeconfigFor({ token: await cluster.tokenOf('backup', home) }) });
  site = {
    footprintId: newId(),
    cell: 'c0',
    namespace,
    databaseShard: 'local',
    database: 'o1',
    volumeClaim: 'o1',
  };
  await cluster.admin.apply(
    {
      apiVersion: 'v1',
      kind: 'PersistentVolumeClaim',
      metadata: { name: 'o1', namespace, labels: { 'mesh.odoo/footprint': site.footprintId } },
      spec: {
        storageClassName: 'mesh-local',
        accessModes: ['ReadWriteOnce'],
        resources: { requests: { storage: '1Gi' } },
      },
    } as KubernetesObject,
    'test',
  );
  cell = cellFiles();
  cell.watch(namespace);
});
afterAll(async () => {
  cell?.onApplicationShutdown();
  await cluster?.remove();
});

function cellFiles(nodesRun = false): KubernetesCellFiles {
  const jobs = {
    async hurry(_: string, id: string) {
      hurried.add(id);
    },
  } as JobQueue;
  const settings = {
    meshName: cluster.name,
    storageClass: 'mesh-local',
    snapshotClass: 'mesh-snapshots',
    snapshotAccess: 'ReadOnlyMany',
    filesImage: 'registry.local/mesh-files:1',
    jobDeadlineSeconds: 120,
    objectStoreAccess: { MESH_S3_BUCKET: 'b' },
    nodesRun,
  } as const;
  return new KubernetesCellFiles(client, jobs, settings, new Log({ service: 'test' }));
}

const frozen = async (id: string, attempt = '1') =>
  await waitFor('the snapshot', async () => (await cell.snapshot(site, id, attempt, fence)) === 'ready');

const ended = async (look: () => Promise<JobState>) =>
  await waitFor('the Job to end', async () => {
    const state = await look();
    return state.state === 'runs' ? undefined : state;
  });

const tidied = async (id: string) => await waitFor('nothing to be left', () => cell.tidy(site, id, fence));

const claimOf = async (name: string) =>
  await cluster.admin.get<V1PersistentVolumeClaim & KubernetesObject>({
    kind: 'PersistentVolumeClaim',
    name,
    namespace: site.namespace,
  });

it('on simulated nodes all steps are taken, and it is said that nothing ran', async () => {
  const id = newId();
  await frozen(id);
  expect(await ended(() => cell.save(site, id, '1', to, fence))).toEqual({ state: 'simulated' });
  const restore = newId();
  const from = { folder: 'o2', files: to.files, indexes: [to.index] };
  expect(await ended(() => cell.fill(site, restore, from, fence))).toEqual({ state: 'simulated' });
  expect(await ended(() => cell.load(site, restore, 'registry.local/odoo:18.0', 'o1-v1', fence))).toEqual({
    state: 'simulated',
  });
  await waitFor('whoever waits to be told', () => hurried.has(id) && hurried.has(restore));
  await Promise.all([tidied(id), tidied(restore)]);
});

it('where pods run, one that succeeded without a word is no success', async () => {
  const id = newId();
  await frozen(id);
  const real = cellFiles(true);
  expect(await ended(() => real.save(site, id, '1', to, fence))).toMatchObject({
    state: 'failed',
    code: 'FILES_NO_RESULT',
  });
  const uidOfJob = async () => (await cluster.admin.list('Job', site.namespace, backupSelector(id)))[0]?.metadata?.uid;
  const before = await uidOfJob();
  for (const { metadata } of await cluster.admin.list('Pod', site.namespace, backupSelector(id)))
    await cluster.admin.delete(
      { kind: 'Pod', name: metadata!.name!, namespace: site.namespace },
      { uid: metadata!.uid! },
    );
  // Whose pod is gone has lost its word: it is done once more.
  await waitFor('another Job', async () => {
    await real.save(site, id, '1', to, fence);
    const uid = await uidOfJob();
    return uid !== undefined && uid !== before;
  });
  real.onApplicationShutdown();
  await tidied(id);
});

it('what is done twice, by two who know nothing of each other, is done once', async () => {
  const id = newId();
  await Promise.all([1, 2, 3].map(() => cell.snapshot(site, id, '1', fence)));
  await frozen(id);
  await waitFor('a Job', async () => {
    await Promise.all([1, 2, 3].map(() => cell.save(site, id, '1', to, fence)));
    return (await cluster.admin.list('Job', site.namespace, backupSelector(id))).length > 0;
  });
  for (const kind of ['VolumeSnapshot', 'PersistentVolumeClaim', 'Job'])
    expect((await cluster.admin.list(kind, site.namespace, backupSelector(id))).length).toBe(1);
  await tidied(id);
});

it('the copy is as large as the volume, and its disk goes with it; the volume and other backups stay', async () => {
  const [id, other] = [newId(), newId()];
  await Promise.all([frozen(id), frozen(other)]);
  await ended(() => cell.save(site, id, '1', to, fence));
  const copy = (await claimOf(backupNames(id, '1').claim))!;
  expect(copy.spec).toMatchObject({ accessModes: ['ReadOnlyMany'], resources: { requests: { storage: '1Gi' } } });
  const volume = { kind: 'PersistentVolume', name: copy.spec!.volumeName! };
  expect(await cluster.admin.get<V1PersistentVolume & KubernetesObject>(volume)).toBeDefined();
  await tidied(id);
  await waitFor('the disk to be gone', async () => (await cluster.admin.get(volume)) === undefined);
  expect((await claimOf('o1'))?.status?.phase).toBe('Bound');
  expect((await cluster.admin.list('VolumeSnapshot', site.namespace, backupSelector(other))).length).toBe(1);
  await tidied(other);
});

it('a claim that is no copy is never removed, whatever its labels say', async () => {
  const id = newId();
  const labelled = {
    apiVersion: 'v1',
    kind: 'PersistentVolumeClaim',
    metadata: {
      name: `b${id.replaceAll('-', '')}-copy`,
      namespace: site.namespace,
      labels: { 'mesh.odoo/backup': id },
    },
    spec: {
      storageClassName: 'mesh-local',
      accessModes: ['ReadWriteOnce'],
      resources: { requests: { storage: '1Gi' } },
    },
  };
  await cluster.admin.create(labelled as KubernetesObject, 'test');
  await expect(cell.tidy(site, id, fence)).rejects.toMatchObject({ reason: 'NOT_A_COPY' } satisfies Partial<Obstacle>);
  expect((await claimOf(labelled.metadata.name))?.metadata?.deletionTimestamp).toBeUndefined();
});

it('a lease that is lost changes nothing any more', async () => {
  const id = newId();
  const lost = () => {
    throw new Error('the lease is lost');
  };
  await expect(cell.snapshot(site, id, '1', lost)).rejects.toThrow('the lease is lost');
  await frozen(id);
  await expect(cell.save(site, id, '1', to, lost)).rejects.toThrow('the lease is lost');
  await expect(cell.tidy(site, id, lost)).rejects.toThrow('the lease is lost');
  expect((await cluster.admin.list('VolumeSnapshot', site.namespace, backupSelector(id))).length).toBe(1);
  await tidied(id);
});

it('a volume that will be destroyed loses the snapshots of all its backups, and no other volume does', async () => {
  const elsewhere = { ...site, footprintId: newId() };
  const [one, two, other] = [newId(), newId(), newId()];
  await Promise.all([frozen(one), frozen(two)]);
  await cell.snapshot(elsewhere, other, '1', fence);
  await waitFor('them to be gone', () => cell.removeSnapshots(site, fence));
  for (const id of [one, two])
    expect(await cluster.admin.list('VolumeSnapshot', site.namespace, backupSelector(id))).toEqual([]);
  expect((await cluster.admin.list('VolumeSnapshot', site.namespace, backupSelector(other))).length).toBe(1);
  await tidied(other);
});

it('who backs up reads no Secret of an instance and lists none', async () => {
  const { namespace } = site;
  const refused: (() => Promise<unknown>)[] = [
    () => client.list('Secret', namespace),
    () => client.get({ kind: 'Secret', name: 'o1-v1', namespace }),
    () => client.delete({ kind: 'Pod', name: 'x', namespace }, { uid: 'x' }),
    () => client.list('Deployment', namespace),
  ];
  for (const one of refused) await expect(one()).rejects.toThrow(Forbidden);
});

it('a pod of a Job is what Pod Security restricted takes', async () => {
  const id = newId();
  await cell.fill(site, id, { folder: 'o2', files: to.files, indexes: [] }, fence);
  await waitFor('its pod', async () => {
    const job = await cluster.admin.get<V1Job & KubernetesObject>({
      kind: 'Job',
      name: backupNames(id).fill,
      namespace: site.namespace,
    });
    return (job?.status?.succeeded ?? 0) + (job?.status?.active ?? 0) > 0;
  });
  await tidied(id);
});
