import { afterAll, beforeAll, expect, test } from '@jest/globals';
import type { V1PersistentVolumeClaim, V1ResourceQuota } from '@kubernetes/client-node';
import { type KubernetesObject, refOf } from '#kubernetes/index.js';
import { TestCluster } from '#kubernetes/test-cluster.fixture.js';
import { Log } from '#observability/index.js';
import { cellManifests, clusterManifests, findPlan, footprintNames } from '#odoo/index.js';
import type { JobQueue } from '#persistence/index.js';
import { cloneTemplate, connectionsOf, ensureTenantRole, setTenantConnectionLimit } from '#tenant-databases/index.js';
import { stackAddresses } from '#testing/config.js';
import { createTestShard, type TestShard } from '#testing/test-shard.js';
import { waitFor } from '#testing/wait-for.js';
import { type Instance, newborn, type Placed } from '../domain/instance.js';
import { type Check, lackOf } from '../domain/preflight.js';
import { KubernetesCluster } from '../infrastructure/kubernetes-cluster.js';
import { PostgresShards } from '../infrastructure/postgres-shards.js';
import { LookForRoom } from './look-for-room.js';
import type { LifecycleSettings } from './ports.js';

const MiB = 1024 ** 2;
const plan = findPlan('trial')!;

let server: TestShard;
let cluster: TestCluster;
let namespace: string;
let kubeconfig: string;
const adapters: { onApplicationShutdown(): unknown }[] = [];

beforeAll(async () => {
  server = await createTestShard('CREATE TABLE ir_attachment (id int, store_fname text, file_size int)');
  cluster = new TestCluster(stackAddresses().kubeconfig);
  const { meshName } = server.shard;
  const home = await cluster.namespace(`${cluster.name}-system`);
  namespace = `${cluster.name}-c0`;
  cluster.removeLater({ kind: 'Namespace', name: namespace });
  for (const manifest of clusterManifests(meshName) as KubernetesObject[]) {
    cluster.removeLater(refOf(manifest));
    await cluster.admin.apply(manifest, 'test');
  }
  const account = [{ serviceAccount: 'lifecycle', namespace: home }];
  const manifests = cellManifests({
    ...{ meshName, cell: 'c0', namespace, places: 10, footprintWriters: account, jobRunners: account },
    ...{ ingressNamespace: 'kube-system', clusterNetworks: [], databases: [] },
  });
  for (const manifest of manifests as KubernetesObject[]) await cluster.admin.apply(manifest, 'test');
  kubeconfig = cluster.kubeconfigFor({ token: await cluster.tokenOf('lifecycle', home) });
});
afterAll(async () => {
  for (const one of adapters) await one.onApplicationShutdown();
  await cluster?.remove();
  await server?.drop();
});

/** As lifecycle looks, with its own rights. */
function looking(shardDisks: Record<string, number> = {}, config = kubeconfig) {
  const settings = {
    ...{ meshName: server.shard.meshName, storageClass: 'mesh-local', entry: { scheme: 'http' }, shardDisks },
    shards: [{ name: 'local', url: server.url }],
  } as unknown as LifecycleSettings;
  const shards = new PostgresShards(settings);
  const client = cluster.client({ kubeconfig: config });
  const there = new KubernetesCluster(client, shards, {} as JobQueue, settings, new Log({ service: 'test' }));
  adapters.push(shards, there);
  return { room: new LookForRoom(there, shards), there };
}

async function newInstance(): Promise<Instance> {
  const tenant = server.newTenant();
  await ensureTenantRole(server.shard, tenant, { password: 'p', connectionLimit: plan.databaseConnections });
  await cloneTemplate(server.shard, tenant, server.template);
  const placed = {
    ...{
      instanceId: tenant.footprintId,
      footprintId: tenant.footprintId,
      host: 'one.example.com',
      cell: 'c0',
      namespace,
    },
    ...{ plan: { name: plan.name, version: plan.version }, databaseShard: 'local' },
    specification: { customerId: 'c' },
    template: { image: 'registry.local/odoo:18.0-1', database: server.template, version: '18.0' },
  } as unknown as Placed;
  const cause = { traceparent: null, correlationId: 'c' };
  const instance = newborn(placed, new Date(), cause, { database: tenant.name });
  await cluster.admin.apply(
    {
      ...{ apiVersion: 'v1', kind: 'PersistentVolumeClaim', metadata: { name: objectOf(instance), namespace } },
      spec: {
        storageClassName: 'mesh-local',
        accessModes: ['ReadWriteOnce'],
        resources: { requests: { storage: '1Gi' } },
      },
    } as KubernetesObject,
    'test',
  );
  const ref = { kind: 'PersistentVolumeClaim', name: objectOf(instance), namespace };
  await waitFor('its volume', async () => {
    const claim = await cluster.admin.get<V1PersistentVolumeClaim & KubernetesObject>(ref);
    return claim?.status?.capacity?.storage;
  });
  return instance;
}

const objectOf = ({ live }: Instance) => footprintNames(server.shard.meshName, live.footprintId).object;
const roleOf = ({ live }: Instance) => footprintNames(server.shard.meshName, live.footprintId).role;
const of = (checks: readonly Check[], check: Check['check']) => checks.find((one) => one.check === check)!;
const verdicts = (checks: readonly Check[]) => Object.fromEntries(checks.map(({ check, verdict }) => [check, verdict]));

/** In place of the one before, and counted by the server. */
async function quota(hard: Record<string, string>): Promise<void> {
  const metadata = { name: 'tight', namespace };
  const wanted = { apiVersion: 'v1', kind: 'ResourceQuota', metadata, spec: { hard } };
  await cluster.admin.apply(wanted as KubernetesObject, 'test');
  await waitFor('the quota to be counted', async () => {
    const found = await cluster.admin.get<V1ResourceQuota & KubernetesObject>({ kind: 'ResourceQuota', ...metadata });
    const { hard: counted = {}, used = {} } = found?.status ?? {};
    return Object.entries(hard).every(([name, amount]) => counted[name] === amount && used[name]);
  });
}

async function noQuota(): Promise<void> {
  const ref = { kind: 'ResourceQuota', name: 'tight', namespace };
  const found = await cluster.admin.get(ref);
  await cluster.admin.delete(ref, { uid: found!.metadata!.uid! });
}

test('where there is room it is said how much, and what nobody knows is said to be so', async () => {
  const instance = await newInstance();
  await server.administrate(
    `INSERT INTO ir_attachment VALUES (1, 'a', ${3 * MiB}), (2, 'a', ${3 * MiB})`,
    [],
    roleOf(instance),
  );
  const checks = await looking().room.look(instance);
  expect(verdicts(checks)).toEqual({
    ...{ volume: 'fits', 'shard-disk': 'not-checked', memory: 'not-checked', connections: 'fits' },
  });
  expect(of(checks, 'volume').message).toBe(
    `its files are 3 MiB, an update writes up to 64 MiB, volume ${objectOf(instance)} has 1024 MiB`,
  );
  expect(lackOf(checks)).toBeUndefined();
});

test('files and a copy that do not fit are lacking', async () => {
  const instance = await newInstance();
  await server.administrate(`INSERT INTO ir_attachment VALUES (1, 'a', ${1_000 * MiB})`, [], roleOf(instance));
  const checks = await looking({ local: 1 }).room.look(instance);
  expect(verdicts(checks)).toMatchObject({ volume: 'lacking', 'shard-disk': 'lacking' });
  expect(lackOf(checks)).toMatchObject({
    code: 'VOLUME_FULL',
    message: expect.stringMatching(/1000 MiB.*MESH_SHARD_DISKS/),
  });
  expect(of(await looking({ local: 1024 ** 5 }).room.look(instance), 'shard-disk').verdict).toBe('fits');
});

test('what is said of a quota is what the server does with the pod of the update', async () => {
  const instance = await newInstance();
  const { room, there } = looking();
  const { update } = await there.lookForRoom(instance);
  const name = `${objectOf(instance)}-update-0`;
  const start = () => there.startUpdate(instance, 'from', [], () => {});

  await quota({ 'requests.memory': String(update['requests.memory']! - 1) });
  expect(lackOf(await room.look(instance))).toMatchObject({ code: 'CELL_FULL' });
  await start();
  const job = await cluster.admin.get<KubernetesObject & { spec: { template: KubernetesObject } }>({
    ...{ kind: 'Job', name, namespace },
  });
  const pod = { ...job!.spec.template, apiVersion: 'v1', kind: 'Pod', metadata: { name, namespace } };
  await expect(cluster.admin.create(pod, 'test')).rejects.toMatchObject({ byQuota: true });
  await waitFor('nothing of it', () => there.removeUpdates(instance, () => {}));

  await quota({ 'requests.memory': String(update['requests.memory']!) });
  expect(of(await room.look(instance), 'memory').verdict).toBe('fits');
  await start();
  await waitFor('its pod', async () => {
    const pods = await cluster.admin.list('Pod', namespace, `batch.kubernetes.io/job-name=${name}`);
    return pods.length > 0;
  });
  await waitFor('nothing of it', () => there.removeUpdates(instance, () => {}));
  await noQuota();
});

test('the pod that the instance has is not counted, because it is gone by then', async () => {
  const instance = await newInstance();
  const { room, there } = looking();
  const seen = { secret: true, pods: 0, route: 'absent', site: 'unasked', workload: 'absent' } as const;
  await there.applyWorkload(instance, 1, seen, () => {});
  const own = await waitFor('its pod', async () => {
    const room = await there.lookForRoom(instance);
    return room.own.pods ? room.own : undefined;
  });
  expect(own).toMatchObject({ pods: 1, 'requests.memory': 160 * MiB });
  await quota({ 'requests.memory': '321Mi' });
  await waitFor('the pod to be counted', async () => {
    const { quotas } = await there.lookForRoom(instance);
    return quotas.find(({ name }) => name === 'tight')?.used['requests.memory'] === 160 * MiB;
  });
  expect(of(await room.look(instance), 'memory')).toMatchObject({
    verdict: 'fits',
    message: expect.stringContaining('321 MiB, 0 MiB are taken without'),
  });
  await noQuota();
});

test('a role that may have too few connections is lacking them', async () => {
  const instance = await newInstance();
  const tenant = { name: roleOf(instance), footprintId: instance.live.footprintId, epoch: 1 };
  await setTenantConnectionLimit(server.shard, tenant, 3);
  expect((await connectionsOf(server.shard, tenant.name)).tenantLimit).toBe(3);
  expect(lackOf(await looking().room.look(instance))).toMatchObject({
    code: 'TOO_FEW_CONNECTIONS',
    message: expect.stringContaining(`set its CONNECTION LIMIT to ${plan.databaseConnections}`),
  });
});

test('what cannot be looked at is no room', async () => {
  const [bare, lost] = [await newInstance(), await newInstance()];
  const { room } = looking();
  await server.administrate('DROP TABLE ir_attachment', [], roleOf(bare));
  await expect(room.look(bare)).rejects.toMatchObject({ reason: 'NOT_ODOO' });
  const claim = { kind: 'PersistentVolumeClaim', name: objectOf(lost), namespace };
  await cluster.admin.delete(claim, { uid: (await cluster.admin.get(claim))!.metadata!.uid! });
  await waitFor('the claim to be gone', async () => !(await cluster.admin.get(claim)));
  await expect(room.look(lost)).rejects.toMatchObject({ reason: 'VOLUME_LOST' });
  const stranger = cluster.kubeconfigFor({ token: await cluster.tokenOf('stranger', `${cluster.name}-system`) });
  await expect(looking({}, stranger).room.look(lost)).rejects.toMatchObject({ reason: 'CLUSTER_FORBIDS' });
  const elsewhere = { ...lost, placed: { ...lost.placed, databaseShard: 'none' } };
  await expect(room.look(elsewhere)).rejects.toMatchObject({
    reason: expect.stringMatching(/SHARD_UNKNOWN|VOLUME_LOST/),
  });
});
