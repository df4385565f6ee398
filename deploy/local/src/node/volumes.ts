import { existsSync } from 'node:fs';
import { join } from 'node:path';
import type { ClusterApi } from '../cluster-api.js';
import type { ProcessSpec } from '../processes.js';
import type { State } from '../state.js';
import { expectAlive, waitForServer, waitUntil } from '../wait.js';
import { nodeName } from './addresses.js';

const driver = 'volumes.mesh.odoo';

/** The class of volumes that are there: it binds at once and retains. */
export const storageClass = 'mesh-volumes';
export const snapshotClass = 'mesh-snapshots';

const programs = ['volume-driver', 'csi-provisioner', 'csi-snapshotter', 'snapshot-controller'] as const;

/** Volumes with the size they were asked for, and snapshots. Resolves when the kubelet knows the driver. */
export async function startVolumes(state: State, bin: string, kubeconfig: string, api: ClusterApi): Promise<void> {
  const { processes } = state;
  const socket = state.path('node', 'kubelet', 'plugins', driver, 'csi.sock');
  const spec = (name: (typeof programs)[number], args: string[]): ProcessSpec => ({
    name,
    command: join(bin, name),
    args,
    env: { PATH: '/usr/sbin:/usr/bin:/sbin:/bin' },
    cwd: state.path('node'),
  });
  await processes.start(
    spec('volume-driver', [
      `-socket=${socket}`,
      `-registration-socket=${state.path('node', 'kubelet', 'plugins_registry', `${driver}-reg.sock`)}`,
      `-data=${state.path('node', 'volumes')}`,
      `-node=${nodeName}`,
    ]),
  );
  await waitForServer(processes, 'volume-driver', 10_000, async () => existsSync(socket));
  const common = [
    `--kubeconfig=${kubeconfig}`,
    '--leader-election=false',
    '--kube-api-qps=100',
    '--kube-api-burst=200',
  ];
  await processes.start(spec('csi-provisioner', [...common, `--csi-address=${socket}`, '--extra-create-metadata']));
  await processes.start(spec('csi-snapshotter', [...common, `--csi-address=${socket}`]));
  await processes.start(spec('snapshot-controller', common));

  for (const { path, object } of objects) await api.apply(path, object);
  interface Drivers {
    readonly spec: { readonly drivers?: readonly { readonly name: string }[] };
  }
  await waitUntil(
    'the kubelet does not know the driver of volumes',
    async () => {
      const { spec: known } = await api.get<Drivers>(`/apis/storage.k8s.io/v1/csinodes/${nodeName}`);
      return known.drivers?.some(({ name }) => name === driver) ?? false;
    },
    {
      withinMs: 60_000,
      stillHopeful() {
        for (const name of programs) expectAlive(processes, name);
      },
    },
  );
}

const objects = [
  {
    path: `/apis/storage.k8s.io/v1/csidrivers/${driver}`,
    // The kubelet gives the volume's root to the pod's group, as it does with drivers of production.
    object: {
      apiVersion: 'storage.k8s.io/v1',
      kind: 'CSIDriver',
      metadata: { name: driver },
      spec: { attachRequired: false, podInfoOnMount: false, fsGroupPolicy: 'File' },
    },
  },
  {
    path: `/apis/storage.k8s.io/v1/storageclasses/${storageClass}`,
    object: {
      apiVersion: 'storage.k8s.io/v1',
      kind: 'StorageClass',
      metadata: { name: storageClass },
      provisioner: driver,
      reclaimPolicy: 'Retain',
      volumeBindingMode: 'Immediate',
    },
  },
  {
    path: `/apis/snapshot.storage.k8s.io/v1/volumesnapshotclasses/${snapshotClass}`,
    object: {
      apiVersion: 'snapshot.storage.k8s.io/v1',
      kind: 'VolumeSnapshotClass',
      metadata: { name: snapshotClass },
      driver,
      deletionPolicy: 'Delete',
    },
  },
].map(({ path, object }) => ({ path, object: { name: object.metadata.name, yaml: JSON.stringify(object) } }));
