import { afterAll, beforeAll, expect, it } from '@jest/globals';
import type { V1Deployment } from '@kubernetes/client-node';
import {
  cellManifests,
  cellRoleName,
  clusterManifests,
  findPlan,
  footprintManifests,
  footprintNames,
  odooConf,
  volumeRoleName,
} from '#odoo/index.js';
import { stackAddresses } from '#testing/config.js';
import { waitFor } from '#testing/wait-for.js';
import type { KubernetesClient } from './client.js';
import { Forbidden } from './errors.js';
import { type KubernetesObject, refOf } from './resources.js';
import { TestCluster } from './test-cluster.fixture.js';

const footprintId = '0199f3c2-7a41-7c1e-9f6a-2b7c5d1e4f00';

let cluster: TestCluster;
let cell: string;
let home: string;
/** With the rights that libs/odoo gives to the accounts of these services, and no others. */
let planner: KubernetesClient;
let provisioner: KubernetesClient;

beforeAll(async () => {
  cluster = new TestCluster(stackAddresses().kubeconfig);
  home = await cluster.namespace(`${cluster.name}-system`);
  cell = `${cluster.name}-c0`;
  cluster.removeLater({ kind: 'Namespace', name: cell });
  for (const manifest of clusterManifests(cluster.name) as KubernetesObject[]) {
    cluster.removeLater(refOf(manifest));
    await cluster.admin.apply(manifest, 'test');
  }
  planner = await clientOf('planner', cellRoleName(cluster.name));
  provisioner = await clientOf('provisioner', volumeRoleName(cluster.name));
});
afterAll(() => cluster?.remove());

async function clientOf(account: string, role: string): Promise<KubernetesClient> {
  const token = await cluster.tokenOf(account, home);
  const binding = {
    apiVersion: 'rbac.authorization.k8s.io/v1',
    kind: 'ClusterRoleBinding',
    metadata: { name: `${cluster.name}-${account}` },
    roleRef: { apiGroup: 'rbac.authorization.k8s.io', kind: 'ClusterRole', name: role },
    subjects: [{ kind: 'ServiceAccount', name: account, namespace: home }],
  };
  cluster.removeLater(refOf(binding));
  await cluster.admin.apply(binding, 'test');
  return cluster.client({ kubeconfig: cluster.kubeconfigFor({ token }) });
}

const footprint = () =>
  footprintManifests(
    {
      meshName: cluster.name,
      names: footprintNames(cluster.name, footprintId),
      namespace: cell,
      cell: 'c0',
      footprintId,
      tenant: {
        instanceId: '0199f3c2-79d0-7aa2-8a15-6f2d3b9c0e11',
        customerId: 'ACME: "Ltd" #1\n- x: 😀',
        host: 'acme.localhost',
      },
      epoch: 1,
      plan: findPlan('business')!,
      entry: { scheme: 'https', tlsSecret: 'wildcard' },
      image: 'registry.local/odoo:18.0',
      templateDatabase: 'tpl_apps',
      storageClass: 'none-such',
      replicas: 1,
    },
    {
      conf: odooConf({
        databaseHost: 'localhost',
        databasePort: 5432,
        role: 'r',
        database: 'd',
        password: 'p',
        adminPassword: 'a',
        databasePool: 8,
        memoryLimitBytes: 1,
      }),
      password: 'p',
    },
  );

async function applyTwice(client: KubernetesClient, manifest: KubernetesObject): Promise<void> {
  const made = await client.apply(manifest, 'test');
  const again = await client.apply(manifest, 'test');
  // The server's own status may move the resourceVersion meanwhile; a changed specification would move the generation.
  expect(again.metadata!.generation).toBe(made.metadata!.generation);
  expect(again.metadata!.uid).toBe(made.metadata!.uid);
}

it('the planner can make a cell, and the server takes every object of it', async () => {
  const manifests = cellManifests({
    meshName: cluster.name,
    cell: 'c0',
    namespace: cell,
    places: 10,
    footprintWriters: [{ serviceAccount: 'provisioner', namespace: home }],
    ingressNamespace: 'kube-system',
    clusterNetworks: ['10.42.0.0/16'],
    databases: [{ cidr: '10.9.0.1/32', port: 5432 }],
    mailNetworks: ['10.9.1.0/28'],
    objectStores: [{ cidr: '10.9.2.0/28', port: 9000 }],
  });
  for (const manifest of manifests as KubernetesObject[]) await applyTwice(planner, manifest);
});

it('then the provisioner can make a footprint in it, and the server takes every object of it', async () => {
  const { secret, ...rest } = footprint();
  await waitFor('its rights', async () => {
    await provisioner.create(secret as KubernetesObject, 'test');
    return true;
  });
  for (const manifest of Object.values(rest) as KubernetesObject[]) await applyTwice(provisioner, manifest);
  await expect(provisioner.get(refOf(secret as KubernetesObject))).resolves.toMatchObject({
    immutable: true,
    metadata: { annotations: { 'mesh.odoo/customer-id': 'ACME: "Ltd" #1\n- x: 😀' } },
  });
});

it('Pod Security restricted lets its pod be made', async () => {
  const { deployment } = footprint();
  const ref = refOf(deployment as KubernetesObject);
  const seen = await waitFor('a pod, or why there is none', async () => {
    const { status } = (await cluster.admin.get<V1Deployment & KubernetesObject>(ref))!;
    const refusal = status?.conditions?.find(({ type }) => type === 'ReplicaFailure');
    return refusal ?? (status?.replicas === 1 && status);
  });
  expect(seen).not.toHaveProperty('reason');
});

it('neither can do more: no list of Secrets, no other namespace, no other role, no volume’s end', async () => {
  const name = (what: string) => ({ metadata: { name: `${cluster.name}-${what}` } });
  const refused: [string, () => Promise<unknown>][] = [
    ['list Secrets', () => provisioner.list('Secret', cell)],
    ['a Secret at home', () => provisioner.get({ kind: 'Secret', namespace: home, name: 'x' })],
    ['a namespace', () => provisioner.create({ apiVersion: 'v1', kind: 'Namespace', ...name('x') }, 'test')],
    ['end a volume', () => provisioner.delete({ kind: 'PersistentVolume', name: 'x' }, { uid: 'x' })],
    ['a Secret of the cell', () => planner.get({ kind: 'Secret', namespace: cell, name: 'x' })],
    ['end a cell', () => planner.delete({ kind: 'Namespace', name: cell }, { uid: 'x' })],
    [
      'bind another role',
      () =>
        planner.create(
          {
            apiVersion: 'rbac.authorization.k8s.io/v1',
            kind: 'RoleBinding',
            metadata: { namespace: cell, name: 'more' },
            roleRef: { apiGroup: 'rbac.authorization.k8s.io', kind: 'ClusterRole', name: 'cluster-admin' },
            subjects: [{ kind: 'ServiceAccount', name: 'planner', namespace: home }],
          } as KubernetesObject,
          'test',
        ),
    ],
  ];
  for (const [what, work] of refused) {
    const error = await work().then(
      () => 'nothing',
      (failure) => failure,
    );
    expect([what, error]).toEqual([what, expect.any(Forbidden)]);
  }
});
