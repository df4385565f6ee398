import { expect, it } from '@jest/globals';
import {
  type BackupWork,
  backupNames,
  filesJobManifest,
  loadJobManifest,
  objectStoreSecretManifest,
  snapshotClaimManifest,
  snapshotManifest,
} from './backup-jobs.js';

const work: BackupWork = {
  meshName: 'mesh',
  id: '0199f3c2-7a41-7c1e-9f6a-2b7c5d1e4f00',
  namespace: 'mesh-c0',
  cell: 'c0',
  footprintId: '0199f3c2-79d0-7aa2-8a15-6f2d3b9c0e11',
};
const base = 'b0199f3c27a417c1e9f6a2b7c5d1e4f00';
const labels = {
  'mesh.odoo/backup': work.id,
  'mesh.odoo/footprint': work.footprintId,
  'mesh.odoo/cell': 'c0',
  'app.kubernetes.io/managed-by': 'odoo-mesh',
  'app.kubernetes.io/part-of': 'mesh',
};
const files = { image: 'registry.local/files:1', claim: 'a-claim', task: '{"kind":"save"}', deadlineSeconds: 600 };
const load = { image: 'registry.local/odoo:18.0', secret: 'o1-v1', claim: 'o1', deadlineSeconds: 600 };
const podOf = (job: ReturnType<typeof loadJobManifest>) => job.spec!.template.spec!;

it('an id has one set of names, and what is no id has none', () => {
  expect(backupNames(work.id.toUpperCase())).toEqual({
    snapshot: base,
    claim: `${base}-copy`,
    save: `${base}-save`,
    fill: `${base}-fill`,
    load: `${base}-load`,
  });
  expect(() => backupNames('../other')).toThrow(/is a UUID/);
  const { claim, snapshot } = backupNames(work.id, '9223372036854775807');
  expect(snapshot).toBe(`${base}-9223372036854775807`);
  expect(claim.length).toBeLessThanOrEqual(63);
  expect(() => backupNames(work.id, 'two')).toThrow(/is a number/);
});

it('a snapshot is of the claim, in the class that the operator named or in the default one', () => {
  expect(snapshotManifest(work, { claim: 'o1', snapshotClass: 'ceph' })).toEqual({
    apiVersion: 'snapshot.storage.k8s.io/v1',
    kind: 'VolumeSnapshot',
    metadata: { name: base, namespace: 'mesh-c0', labels },
    spec: { volumeSnapshotClassName: 'ceph', source: { persistentVolumeClaimName: 'o1' } },
  });
  expect(snapshotManifest(work, { claim: 'o1' }).spec).toEqual({ source: { persistentVolumeClaimName: 'o1' } });
});

it('the snapshot becomes a volume of its own', () => {
  const claim = snapshotClaimManifest(work, { storageClass: 'ceph', access: 'ReadOnlyMany', storage: '5Gi' });
  expect(claim).toEqual({
    apiVersion: 'v1',
    kind: 'PersistentVolumeClaim',
    metadata: { name: `${base}-copy`, namespace: 'mesh-c0', labels },
    spec: {
      storageClassName: 'ceph',
      accessModes: ['ReadOnlyMany'],
      resources: { requests: { storage: '5Gi' } },
      dataSource: { apiGroup: 'snapshot.storage.k8s.io', kind: 'VolumeSnapshot', name: base },
    },
  });
});

it('another attempt has another snapshot, which is the one that its volume and its Job are made of', () => {
  const second = { ...work, attempt: '2' };
  expect(snapshotManifest(second, { claim: 'o1' }).metadata.name).toBe(`${base}-2`);
  const copy = snapshotClaimManifest(second, { storageClass: 'ceph', access: 'ReadOnlyMany', storage: '5Gi' });
  expect(copy).toMatchObject({ metadata: { name: `${base}-2-copy` }, spec: { dataSource: { name: `${base}-2` } } });
  expect(filesJobManifest(second, 'save', files).metadata?.name).toBe(`${base}-2-save`);
});

it.each([
  ['save', true],
  ['fill', false],
] as const)('%s has its claim, read-only: %s, its task, and the store’s Secret', (kind, readOnly) => {
  const job = filesJobManifest(work, kind, files);
  expect(job.metadata).toEqual({
    name: `${base}-${kind}`,
    namespace: 'mesh-c0',
    labels: { app: 'odoo-files', ...labels },
  });
  expect(podOf(job).volumes).toEqual([{ name: 'data', persistentVolumeClaim: { claimName: 'a-claim', readOnly } }]);
  expect(podOf(job).containers).toMatchObject([
    {
      name: 'files',
      image: 'registry.local/files:1',
      env: [{ name: 'MESH_FILES_TASK', value: '{"kind":"save"}' }],
      envFrom: [{ secretRef: { name: 'mesh-object-store' } }],
      volumeMounts: [{ name: 'data', mountPath: '/var/lib/odoo', readOnly }],
    },
  ]);
});

it('what failed goes on in another pod, one at a time, unless that is hopeless', () => {
  expect(filesJobManifest(work, 'save', files).spec).toMatchObject({
    backoffLimit: 3,
    activeDeadlineSeconds: 600,
    podReplacementPolicy: 'Failed',
    podFailurePolicy: {
      rules: [
        { action: 'FailJob', onExitCodes: { containerName: 'files', operator: 'In', values: [2] } },
        { action: 'Ignore', onPodConditions: [{ type: 'DisruptionTarget', status: 'True' }] },
      ],
    },
  });
});

it('Odoo opens what was restored with its own conf and files, serves nobody, and is not tried again', () => {
  const job = loadJobManifest(work, load);
  expect(job.spec).toMatchObject({ backoffLimit: 0, activeDeadlineSeconds: 600 });
  expect(job.metadata?.labels).toMatchObject({ app: 'odoo-load' });
  expect(podOf(job).containers).toMatchObject([
    { name: 'load', args: ['--stop-after-init', '--no-http', '--max-cron-threads=0'] },
  ]);
  expect(podOf(job).volumes).toMatchObject([
    { name: 'conf', secret: { secretName: 'o1-v1', items: [{ key: 'odoo.conf', path: 'odoo.conf' }] } },
    { name: 'data', persistentVolumeClaim: { claimName: 'o1' } },
    { name: 'tmp' },
  ]);
});

it.each([
  ['save', filesJobManifest(work, 'save', files)],
  ['fill', filesJobManifest(work, 'fill', files)],
  ['load', loadJobManifest(work, load)],
])('%s may do nothing, is nobody’s pod behind a Service, and waits for instances', (_, job) => {
  expect(job.spec!.template.metadata!.labels).toEqual({ app: job.metadata!.labels!.app, ...labels });
  expect(podOf(job)).toMatchObject({
    automountServiceAccountToken: false,
    enableServiceLinks: false,
    priorityClassName: 'mesh-backup',
    restartPolicy: 'Never',
    securityContext: {
      runAsNonRoot: true,
      runAsUser: 10001,
      fsGroup: 10001,
      seccompProfile: { type: 'RuntimeDefault' },
    },
  });
  for (const { securityContext, resources } of podOf(job).containers) {
    expect(securityContext).toEqual({
      allowPrivilegeEscalation: false,
      readOnlyRootFilesystem: true,
      capabilities: { drop: ['ALL'] },
    });
    expect(resources).toMatchObject({
      requests: { memory: expect.any(String) },
      limits: { memory: expect.any(String) },
    });
  }
  expect(job.spec).not.toHaveProperty('ttlSecondsAfterFinished');
});

it('the Secret holds the access to the store under the names that the worker reads', () => {
  expect(objectStoreSecretManifest(work, { MESH_S3_BUCKET: 'b' })).toMatchObject({
    kind: 'Secret',
    metadata: { name: 'mesh-object-store', namespace: 'mesh-c0' },
    data: { MESH_S3_BUCKET: 'Yg==' },
  });
});
