import { randomBytes } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { ClusterApi } from './cluster-api.js';
import { readConfig } from './config.js';
import { waitUntil } from './wait.js';

const namespace = `stack-${randomBytes(4).toString('hex')}`;
const core = `/api/v1/namespaces/${namespace}`;
const template = (restartPolicy: 'Always' | 'Never') => ({
  metadata: { labels: { app: 'one' } },
  spec: {
    restartPolicy,
    containers: [
      { name: 'main', image: 'registry.local/none:1', volumeMounts: [{ name: 'data', mountPath: '/data' }] },
    ],
    volumes: [{ name: 'data', persistentVolumeClaim: { claimName: 'data' } }],
  },
});

interface Observed {
  metadata: { name: string };
  spec: { volumeName?: string; persistentVolumeReclaimPolicy?: string };
  status: { phase?: string; capacity?: { storage: string }; availableReplicas?: number; succeeded?: number };
}
let api: ClusterApi;
const becomes = (what: string, path: string, condition: (object: Observed) => boolean) =>
  waitUntil(`${what} did not come true`, async () => condition(await api.get<Observed>(path)), { withinMs: 30_000 });

beforeAll(async () => {
  const { kubeconfig } = readConfig().given;
  if (!kubeconfig)
    throw new Error('MESH_KUBECONFIG is not set; run it through npm test, or read the file of npm run stack');
  api = await ClusterApi.open(kubeconfig);
  await api.create('/api/v1/namespaces', { metadata: { name: namespace } });
  await becomes('the namespace is ready', `${core}/serviceaccounts/default`, () => true);
});
afterAll(async () => {
  await api.delete(`/api/v1/namespaces/${namespace}`);
  await api.close();
});

describe('the cluster of the local stack', () => {
  const claim = `${core}/persistentvolumeclaims/data`;

  test('binds a claim at once to a volume that is retained', async () => {
    await api.create(`${core}/persistentvolumeclaims`, {
      metadata: { name: 'data' },
      spec: {
        accessModes: ['ReadWriteOnce'],
        resources: { requests: { storage: '1Gi' } },
        storageClassName: 'mesh-local',
      },
    });
    await becomes('the claim is bound', claim, ({ status }) => status.phase === 'Bound');
    const { spec } = await api.get<Observed>(claim);
    const volume = await api.get<Observed>(`/api/v1/persistentvolumes/${spec.volumeName}`);
    expect(volume.spec.persistentVolumeReclaimPolicy).toBe('Retain');
  });

  test('makes a Deployment available', async () => {
    const path = `/apis/apps/v1/namespaces/${namespace}/deployments`;
    await api.create(path, {
      metadata: { name: 'one' },
      spec: { selector: { matchLabels: { app: 'one' } }, template: template('Always') },
    });
    await becomes('the Deployment is available', `${path}/one`, ({ status }) => status.availableReplicas === 1);
  });

  test('completes a Job', async () => {
    const path = `/apis/batch/v1/namespaces/${namespace}/jobs`;
    await api.create(path, { metadata: { name: 'one' }, spec: { template: template('Never') } });
    await becomes('the Job is complete', `${path}/one`, ({ status }) => status.succeeded === 1);
  });

  test('accepts an IngressRoute and checks it', async () => {
    const path = `/apis/traefik.io/v1alpha1/namespaces/${namespace}/ingressroutes`;
    const route = (routes: object[]) => ({
      apiVersion: 'traefik.io/v1alpha1',
      kind: 'IngressRoute',
      metadata: { name: 'one' },
      spec: { entryPoints: ['web'], routes },
    });
    await expect(api.create(path, route([{ kind: 'Rule' }]))).rejects.toThrow('422');
    await api.create(path, route([{ kind: 'Rule', match: 'Host(`a.b`)', services: [{ name: 'one', port: 'http' }] }]));
  });

  test('serves volume snapshots', async () => {
    await api.get(`/apis/snapshot.storage.k8s.io/v1/namespaces/${namespace}/volumesnapshots`);
    await api.get(`/apis/groupsnapshot.storage.k8s.io/v1/namespaces/${namespace}/volumegroupsnapshots`);
  });

  test('grows a volume', async () => {
    await api.apply(claim, {
      name: 'data',
      yaml: `{apiVersion: v1, kind: PersistentVolumeClaim, metadata: {name: data},
              spec: {resources: {requests: {storage: 2Gi}}}}`,
    });
    await becomes('the claim has 2Gi', claim, ({ status }) => status.capacity?.storage === '2Gi');
  });

  test('keeps the volume of a deleted claim until it is set to Delete', async () => {
    const { spec } = await api.get<Observed>(claim);
    const volume = `/api/v1/persistentvolumes/${spec.volumeName}`;
    await api.delete(`/apis/apps/v1/namespaces/${namespace}/deployments/one?propagationPolicy=Foreground`);
    await api.delete(`/apis/batch/v1/namespaces/${namespace}/jobs/one?propagationPolicy=Foreground`);
    await api.delete(claim);
    await becomes('the volume is released', volume, ({ status }) => status.phase === 'Released');
    await api.apply(volume, {
      name: spec.volumeName ?? '',
      yaml: `{apiVersion: v1, kind: PersistentVolume, metadata: {name: ${spec.volumeName}},
              spec: {persistentVolumeReclaimPolicy: Delete}}`,
    });
    const gone = () =>
      api.get(volume).then(
        () => false,
        (error: Error) => error.message.includes('404'),
      );
    await waitUntil('the volume is not gone', gone, { withinMs: 30_000 });
  });
});
