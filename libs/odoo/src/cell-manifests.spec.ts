import { expect, it } from '@jest/globals';
import type { CellSpec } from './cell.js';
import { cellManifests } from './cell-manifests.js';

const spec: CellSpec = {
  meshName: 'mesh',
  cell: 'c0',
  namespace: 'mesh-c0',
  places: 1_000,
  footprintWriters: [
    { serviceAccount: 'provisioner', namespace: 'mesh-system' },
    { serviceAccount: 'lifecycle', namespace: 'mesh-system' },
  ],
  ingressNamespace: 'traefik',
  clusterNetworks: ['10.42.0.0/16', '10.43.0.0/16'],
  databases: [{ cidr: '10.9.0.10/32', port: 5432 }],
};
const labels = {
  'app.kubernetes.io/managed-by': 'odoo-mesh',
  'app.kubernetes.io/part-of': 'mesh',
  'mesh.odoo/cell': 'c0',
};
const manifests = cellManifests(spec);

function find(kind: string, name: string, among = manifests): unknown {
  return among.find((manifest) => manifest.kind === kind && manifest.metadata?.name === name);
}

it('a cell is these objects; the namespace comes first and the right to write in it last', () => {
  expect(manifests.map(({ kind, metadata }) => `${kind} ${metadata?.namespace ?? ''}/${metadata?.name}`)).toEqual([
    'Namespace /mesh-c0',
    'NetworkPolicy mesh-c0/default-deny',
    'NetworkPolicy mesh-c0/odoo',
    'NetworkPolicy mesh-c0/job',
    'NetworkPolicy mesh-c0/backup-files',
    'NetworkPolicy mesh-c0/backup-load',
    'LimitRange mesh-c0/defaults',
    'ResourceQuota mesh-c0/fuse',
    'Middleware mesh-c0/blocked',
    'Middleware mesh-c0/security-headers',
    'Middleware mesh-c0/rate-limit',
    'Middleware mesh-c0/api-cors',
    'Middleware mesh-c0/not-answering',
    'Middleware mesh-c0/forwarded-http',
    'Middleware mesh-c0/forwarded-https',
    'Service mesh-c0/edge',
    'RoleBinding mesh-c0/job-runners',
    'RoleBinding mesh-c0/backup-runners',
    'RoleBinding mesh-c0/footprint-writers',
  ]);
  for (const { metadata } of manifests) expect(metadata?.labels).toMatchObject(labels);
});

it('its namespace takes restricted pods only', () => {
  expect(manifests[0]).toEqual({
    apiVersion: 'v1',
    kind: 'Namespace',
    metadata: { name: 'mesh-c0', labels: { ...labels, 'pod-security.kubernetes.io/enforce': 'restricted' } },
  });
});

const fromSystem = { namespaceSelector: { matchLabels: { 'kubernetes.io/metadata.name': 'kube-system' } } };
const dns = {
  to: [fromSystem],
  ports: [
    { protocol: 'UDP', port: 53 },
    { protocol: 'TCP', port: 53 },
  ],
};
const databases = { to: [{ ipBlock: { cidr: '10.9.0.10/32' } }], ports: [{ protocol: 'TCP', port: 5432 }] };
const internet = { to: [{ ipBlock: { cidr: '0.0.0.0/0', except: ['10.42.0.0/16', '10.43.0.0/16'] } }] };

it('nothing talks in a cell, but for what is said', () => {
  expect(find('NetworkPolicy', 'default-deny')).toEqual({
    apiVersion: 'networking.k8s.io/v1',
    kind: 'NetworkPolicy',
    metadata: { name: 'default-deny', namespace: 'mesh-c0', labels },
    spec: { podSelector: {}, policyTypes: ['Ingress', 'Egress'] },
  });
});

it('the edge reaches an Odoo, which reaches names, its database and what is outside the cluster', () => {
  expect(find('NetworkPolicy', 'odoo')).toEqual({
    apiVersion: 'networking.k8s.io/v1',
    kind: 'NetworkPolicy',
    metadata: { name: 'odoo', namespace: 'mesh-c0', labels },
    spec: {
      podSelector: { matchLabels: { app: 'odoo' } },
      policyTypes: ['Ingress', 'Egress'],
      ingress: [
        {
          from: [{ namespaceSelector: { matchLabels: { 'kubernetes.io/metadata.name': 'traefik' } } }],
          ports: [{ protocol: 'TCP', port: 8069 }],
        },
      ],
      egress: [dns, databases, internet],
    },
  });
});

it('a mail relay in the cluster is for an Odoo and its upgrade', () => {
  const cell = cellManifests({ ...spec, mailNetworks: ['10.9.1.0/28'] });
  const mail = {
    to: [{ ipBlock: { cidr: '10.9.1.0/28' } }],
    ports: [25, 465, 587].map((port) => ({ protocol: 'TCP', port })),
  };
  expect(find('NetworkPolicy', 'odoo', cell)).toMatchObject({ spec: { egress: [dns, databases, mail, internet] } });
  expect(find('NetworkPolicy', 'job', cell)).toMatchObject({
    spec: {
      podSelector: { matchLabels: { app: 'odoo-job' } },
      policyTypes: ['Ingress', 'Egress'],
      egress: [dns, databases, mail, internet],
    },
  });
});

it('what carries files of backups reaches the object store and no more', () => {
  const policy = (more: Partial<CellSpec>) =>
    find('NetworkPolicy', 'backup-files', cellManifests({ ...spec, ...more }));
  const chosen = { podSelector: { matchLabels: { app: 'odoo-files' } }, policyTypes: ['Ingress', 'Egress'] };
  const store = { to: [{ ipBlock: { cidr: '10.9.2.4/32' } }], ports: [{ protocol: 'TCP', port: 9000 }] };
  expect(policy({ objectStores: [{ cidr: '10.9.2.4/32', port: 9000 }] })).toMatchObject({
    spec: { ...chosen, egress: [dns, store] },
  });
  // Nothing is said: it is a provider's, and this still is no way into the cluster.
  expect(policy({})).toMatchObject({
    spec: { ...chosen, egress: [dns, { ...internet, ports: [{ protocol: 'TCP', port: 443 }] }] },
  });
});

it('an Odoo that only looks whether a restored database loads reaches that, and nobody outside', () => {
  expect(find('NetworkPolicy', 'backup-load')).toMatchObject({
    spec: {
      podSelector: { matchLabels: { app: 'odoo-load' } },
      policyTypes: ['Ingress', 'Egress'],
      egress: [dns, databases],
    },
  });
});

it('no database networks open nothing: an empty list of peers would mean everywhere', () => {
  const cell = cellManifests({ ...spec, databases: [] });
  expect(find('NetworkPolicy', 'odoo', cell)).toMatchObject({ spec: { egress: [dns, internet] } });
});

it('a container that says nothing gets little, and none gets more than a plan has', () => {
  expect(find('LimitRange', 'defaults')).toEqual({
    apiVersion: 'v1',
    kind: 'LimitRange',
    metadata: { name: 'defaults', namespace: 'mesh-c0', labels },
    spec: {
      limits: [
        {
          type: 'Container',
          default: { cpu: '1', memory: '512Mi' },
          defaultRequest: { cpu: '50m', memory: '160Mi' },
          max: { cpu: '4', memory: '8Gi' },
        },
      ],
    },
  });
});

it('the fuse blows at half as much again as there are places', () => {
  expect(find('ResourceQuota', 'fuse')).toEqual({
    apiVersion: 'v1',
    kind: 'ResourceQuota',
    metadata: { name: 'fuse', namespace: 'mesh-c0', labels },
    spec: {
      hard: {
        pods: '1510',
        persistentvolumeclaims: '1510',
        'count/deployments.apps': '1510',
        services: '1510',
        secrets: '4530',
      },
    },
  });
});

it('what is blocked is blocked for everybody', () => {
  expect(find('Middleware', 'blocked')).toEqual({
    apiVersion: 'traefik.io/v1alpha1',
    kind: 'Middleware',
    metadata: { name: 'blocked', namespace: 'mesh-c0', labels },
    spec: { ipAllowList: { sourceRange: ['255.255.255.255/32'] } },
  });
});

it('pages keep other sites from framing them and not themselves, and no client takes more than its share', () => {
  expect(find('Middleware', 'security-headers')).toMatchObject({
    spec: { headers: { customFrameOptionsValue: 'SAMEORIGIN', contentTypeNosniff: true, browserXssFilter: true } },
  });
  expect(find('Middleware', 'rate-limit')).toMatchObject({ spec: { rateLimit: { average: 50, burst: 100 } } });
});

it.each(['http', 'https'])('what a client says of its scheme is overwritten with %s', (scheme) => {
  expect(find('Middleware', `forwarded-${scheme}`)).toMatchObject({
    spec: { headers: { customRequestHeaders: { 'X-Forwarded-Proto': scheme } } },
  });
});

it('every cell has a Service that leads to the edge, when there is one, and has no address of its own', () => {
  const ports = [{ name: 'http', port: 80, protocol: 'TCP' }];
  expect(find('Service', 'edge')).toEqual({
    apiVersion: 'v1',
    kind: 'Service',
    metadata: { name: 'edge', namespace: 'mesh-c0', labels },
    spec: { clusterIP: 'None', ports },
  });
  expect(find('EndpointSlice', 'edge')).toBeUndefined();
  const cell = cellManifests({ ...spec, edge: { address: '10.43.7.7', port: 8080 } });
  expect(find('EndpointSlice', 'edge', cell)).toEqual({
    apiVersion: 'discovery.k8s.io/v1',
    kind: 'EndpointSlice',
    metadata: {
      name: 'edge',
      namespace: 'mesh-c0',
      labels: {
        ...labels,
        'kubernetes.io/service-name': 'edge',
        'endpointslice.kubernetes.io/managed-by': 'odoo-mesh',
      },
    },
    addressType: 'IPv4',
    ports: [{ name: 'http', port: 8080, protocol: 'TCP' }],
    endpoints: [{ addresses: ['10.43.7.7'], conditions: { ready: true } }],
  });
});

it('where no pod answers, the edge does', () => {
  expect(find('Middleware', 'not-answering')).toMatchObject({
    spec: { errors: { status: ['502-504'], service: { name: 'edge', port: 'http' } } },
  });
});

it('the writers of footprints may write in this cell', () => {
  expect(find('RoleBinding', 'footprint-writers')).toEqual({
    apiVersion: 'rbac.authorization.k8s.io/v1',
    kind: 'RoleBinding',
    metadata: { name: 'footprint-writers', namespace: 'mesh-c0', labels },
    roleRef: { apiGroup: 'rbac.authorization.k8s.io', kind: 'ClusterRole', name: 'mesh-footprint-writer' },
    subjects: [
      { kind: 'ServiceAccount', name: 'provisioner', namespace: 'mesh-system' },
      { kind: 'ServiceAccount', name: 'lifecycle', namespace: 'mesh-system' },
    ],
  });
});
