import { expect, it } from '@jest/globals';
import { clusterManifests } from './cluster-manifests.js';

const labels = { 'app.kubernetes.io/managed-by': 'odoo-mesh', 'app.kubernetes.io/part-of': 'm2' };
const manifests = clusterManifests('m2');
const rulesOf = (name: string) =>
  manifests.flatMap((manifest) =>
    manifest.metadata?.name === name && 'rules' in manifest ? (manifest.rules ?? []) : [],
  );

it('customers outrank trials, those outrank backups, and running spares give way first', () => {
  const priority = (name: string, value: number, description: string) => ({
    apiVersion: 'scheduling.k8s.io/v1',
    kind: 'PriorityClass',
    metadata: { name, labels },
    value,
    description,
  });
  expect(manifests.filter(({ kind }) => kind === 'PriorityClass')).toEqual([
    priority('m2-instance', 100_000, 'Odoo instances of customers'),
    priority('m2-instance-trial', 50_000, 'Odoo instances on trial'),
    priority('m2-backup', 10_000, 'backups and restores: they wait for instances, and not for spares'),
    priority('m2-spare', 1_000, 'running spares: the first to give way'),
  ]);
});

it('the roles of a mesh begin with its name', () => {
  expect(manifests.filter(({ kind }) => kind === 'ClusterRole').map(({ metadata }) => metadata)).toEqual([
    { name: 'm2-footprint-writer', labels },
    { name: 'm2-job-runner', labels },
    { name: 'm2-backup-runner', labels },
    { name: 'm2-volume-releaser', labels },
    { name: 'm2-cell-writer', labels },
  ]);
});

const write = ['get', 'list', 'watch', 'create', 'patch', 'delete'];

it('who writes footprints may write their objects, and cannot list Secrets', () => {
  expect(rulesOf('m2-footprint-writer')).toEqual([
    { apiGroups: [''], resources: ['secrets'], verbs: ['get', 'create', 'patch', 'delete'] },
    { apiGroups: [''], resources: ['services', 'persistentvolumeclaims'], verbs: write },
    { apiGroups: [''], resources: ['pods'], verbs: ['get', 'list', 'watch', 'patch'] },
    { apiGroups: ['apps'], resources: ['deployments'], verbs: write },
    { apiGroups: ['traefik.io'], resources: ['ingressroutes'], verbs: write },
  ]);
});

it('who runs Jobs may make and end them, and read what they said and what there is room for', () => {
  expect(rulesOf('m2-job-runner')).toEqual([
    { apiGroups: ['batch'], resources: ['jobs'], verbs: ['get', 'list', 'watch', 'create', 'delete'] },
    { apiGroups: [''], resources: ['pods/log'], verbs: ['get'] },
    { apiGroups: [''], resources: ['resourcequotas'], verbs: ['list'] },
  ]);
});

it('who backs up may copy volumes and run Jobs, and knows one Secret', () => {
  const verbs = ['get', 'list', 'watch', 'create', 'delete'];
  expect(rulesOf('m2-backup-runner')).toEqual([
    { apiGroups: ['batch'], resources: ['jobs'], verbs },
    { apiGroups: [''], resources: ['pods'], verbs: ['get', 'list', 'watch'] },
    { apiGroups: [''], resources: ['pods/log'], verbs: ['get'] },
    { apiGroups: [''], resources: ['persistentvolumeclaims'], verbs },
    { apiGroups: ['snapshot.storage.k8s.io'], resources: ['volumesnapshots'], verbs },
    { apiGroups: [''], resources: ['secrets'], verbs: ['create'] },
    { apiGroups: [''], resources: ['secrets'], resourceNames: ['mesh-object-store'], verbs: ['get', 'patch'] },
  ]);
});

it('volumes can be released, not deleted', () => {
  expect(rulesOf('m2-volume-releaser')).toEqual([
    { apiGroups: [''], resources: ['persistentvolumes'], verbs: ['get', 'patch'] },
  ]);
});

it('who makes cells can hand on the roles of a cell and no other', () => {
  const verbs = ['get', 'create', 'patch'];
  expect(rulesOf('m2-cell-writer')).toEqual([
    { apiGroups: [''], resources: ['namespaces', 'limitranges', 'resourcequotas', 'services'], verbs },
    { apiGroups: ['discovery.k8s.io'], resources: ['endpointslices'], verbs },
    { apiGroups: ['networking.k8s.io'], resources: ['networkpolicies'], verbs },
    { apiGroups: ['traefik.io'], resources: ['middlewares'], verbs },
    { apiGroups: ['rbac.authorization.k8s.io'], resources: ['rolebindings'], verbs },
    {
      apiGroups: ['rbac.authorization.k8s.io'],
      resources: ['clusterroles'],
      resourceNames: ['m2-footprint-writer', 'm2-job-runner', 'm2-backup-runner'],
      verbs: ['bind'],
    },
  ]);
});
