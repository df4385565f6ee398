import type {
  V1Container,
  V1Job,
  V1JobSpec,
  V1ObjectMeta,
  V1PersistentVolumeClaim,
  V1PodSpec,
  V1Secret,
} from '@kubernetes/client-node';
import { confVolume, restricted, restrictedPod } from './deployment-manifest.js';
import { labelNames, meshLabels } from './names.js';
import { dataDir } from './odoo-conf.js';
import type { Wire } from './wire.js';

/** For what a backup, a proof or a restore does with a footprint's volume, in its cell. */
export interface BackupWork {
  readonly meshName: string;
  /** Of the backup, the proof or the restore: a UUID. */
  readonly id: string;
  /** Of a backup: its number. */
  readonly attempt?: string;
  readonly namespace: string;
  readonly cell: string;
  readonly footprintId: string;
}

/** `app` of the pods that carry files, and of those in which an Odoo opens what was restored. */
export const filesApp = 'odoo-files';
export const loadApp = 'odoo-load';

/** In each cell: how its Jobs reach the object store. */
export const objectStoreSecret = 'mesh-object-store';

/** The container of each Job. */
export const filesContainer = 'files';
export const loadContainer = 'load';

/** The variable in which a files Job finds what it is to do, as JSON. */
export const filesTaskVariable = 'MESH_FILES_TASK';

/** Of a files Job: trying again does not help. */
export const hopelessExitCode = 2;

/**
 * One set of names for ever: what is there already under them is an earlier run's.
 * @param attempt of a backup: a number. Each has a snapshot of its own.
 */
export function backupNames(id: string, attempt?: string) {
  const hex = id.toLowerCase().replaceAll('-', '');
  if (!/^[0-9a-f]{32}$/.test(hex))
    throw new Error(`the id of a backup or restore is a UUID, not ${JSON.stringify(id)}`);
  if (attempt !== undefined && !/^[0-9]{1,19}$/.test(attempt))
    throw new Error(`an attempt is a number, not ${JSON.stringify(attempt)}`);
  const base = attempt === undefined ? `b${hex}` : `b${hex}-${attempt}`;
  return { snapshot: base, claim: `${base}-copy`, save: `${base}-save`, fill: `${base}-fill`, load: `${base}-load` };
}

/** What the objects of this work are found by. */
export const backupSelector = (id: string) => `${labelNames.backup}=${id}`;

/** snapshot.storage.k8s.io/v1, for which the client library has no types. */
export interface VolumeSnapshot {
  readonly apiVersion: 'snapshot.storage.k8s.io/v1';
  readonly kind: 'VolumeSnapshot';
  readonly metadata: Wire<V1ObjectMeta>;
  readonly spec: {
    readonly volumeSnapshotClassName?: string;
    readonly source: { readonly persistentVolumeClaimName: string };
  };
  readonly status?: {
    readonly readyToUse?: boolean;
    /** A quantity: the least that a volume made from it must have. */
    readonly restoreSize?: string;
    readonly error?: { readonly message?: string };
  };
}

/** @param snapshotClass none: the cluster's default for the driver of the claim. */
export function snapshotManifest(
  work: BackupWork,
  { claim, snapshotClass }: { readonly claim: string; readonly snapshotClass?: string | undefined },
): VolumeSnapshot {
  return {
    apiVersion: 'snapshot.storage.k8s.io/v1',
    kind: 'VolumeSnapshot',
    metadata: metadataOf(work, backupNames(work.id, work.attempt).snapshot),
    spec: {
      ...(snapshotClass !== undefined && { volumeSnapshotClassName: snapshotClass }),
      source: { persistentVolumeClaimName: claim },
    },
  };
}

export type SnapshotAccess = 'ReadOnlyMany' | 'ReadWriteOnce';

/**
 * The snapshot as a volume.
 * @param access CephFS gives `ReadOnlyMany` in constant time, without a copy; a driver that cannot leaves it pending.
 * @param storage a quantity, of the volume that the snapshot is of.
 */
export function snapshotClaimManifest(
  work: BackupWork,
  {
    storageClass,
    access,
    storage,
  }: { readonly storageClass: string; readonly access: SnapshotAccess; readonly storage: string },
): Wire<V1PersistentVolumeClaim> {
  const { claim, snapshot } = backupNames(work.id, work.attempt);
  return {
    apiVersion: 'v1',
    kind: 'PersistentVolumeClaim',
    metadata: metadataOf(work, claim),
    spec: {
      storageClassName: storageClass,
      accessModes: [access],
      resources: { requests: { storage } },
      dataSource: { apiGroup: 'snapshot.storage.k8s.io', kind: 'VolumeSnapshot', name: snapshot },
    },
  };
}

/** What files Jobs read as their environment: a name for each value. */
export function objectStoreSecretManifest(
  { meshName, namespace, cell }: Pick<BackupWork, 'meshName' | 'namespace' | 'cell'>,
  access: Readonly<Record<string, string>>,
): Wire<V1Secret> {
  return {
    apiVersion: 'v1',
    kind: 'Secret',
    metadata: {
      name: objectStoreSecret,
      namespace,
      labels: { ...meshLabels(meshName), [labelNames.cell]: cell },
    },
    type: 'Opaque',
    // Not `stringData`: of that an apply forgets what it does not name any more.
    data: Object.fromEntries(
      Object.entries(access).map(([name, value]) => [name, Buffer.from(value).toString('base64')]),
    ),
  };
}

/**
 * Carries files between the object store and a claim: `save` reads it, `fill` writes it. A pod that fails is followed by
 * another, which goes on where it stopped, unless it says that this is hopeless. What it did stands in its termination
 * message. Nobody removes it by itself.
 * @param task what the worker reads from its environment; no secret.
 */
export function filesJobManifest(
  work: BackupWork,
  kind: 'save' | 'fill',
  {
    image,
    claim,
    task,
    deadlineSeconds,
  }: { readonly image: string; readonly claim: string; readonly task: string; readonly deadlineSeconds: number },
): Wire<V1Job> {
  const readOnly = kind === 'save';
  return jobOf(work, backupNames(work.id, work.attempt)[kind], {
    app: filesApp,
    deadlineSeconds,
    retries: {
      backoffLimit: 3,
      podFailurePolicy: {
        rules: [
          {
            action: 'FailJob',
            onExitCodes: { containerName: filesContainer, operator: 'In', values: [hopelessExitCode] },
          },
          // A node that goes away is no failure of the work.
          { action: 'Ignore', onPodConditions: [{ type: 'DisruptionTarget', status: 'True' }] },
        ],
      },
    },
    container: {
      name: filesContainer,
      image,
      resources: { requests: { cpu: '50m', memory: '128Mi' }, limits: { cpu: '1', memory: '512Mi' } },
      env: [{ name: filesTaskVariable, value: task }],
      envFrom: [{ secretRef: { name: objectStoreSecret } }],
      volumeMounts: [{ name: 'data', mountPath: dataDir, readOnly }],
    },
    volumes: [{ name: 'data', persistentVolumeClaim: { claimName: claim, readOnly } }],
  });
}

/** Odoo opens the database with the files, changes nothing, and ends: 0 when all its modules load. Never tried again. */
export function loadJobManifest(
  work: BackupWork,
  {
    image,
    secret,
    claim,
    deadlineSeconds,
  }: { readonly image: string; readonly secret: string; readonly claim: string; readonly deadlineSeconds: number },
): Wire<V1Job> {
  return jobOf(work, backupNames(work.id, work.attempt).load, {
    app: loadApp,
    deadlineSeconds,
    retries: { backoffLimit: 0 },
    container: {
      name: loadContainer,
      image,
      args: ['--stop-after-init', '--no-http', '--max-cron-threads=0'],
      resources: { requests: { cpu: '100m', memory: '256Mi' }, limits: { cpu: '1', memory: '1Gi' } },
      env: [
        { name: 'ODOO_PGAPPNAME', value: backupNames(work.id, work.attempt).load },
        { name: 'PYTHONDONTWRITEBYTECODE', value: '1' },
        { name: 'PYTHONUNBUFFERED', value: '1' },
      ],
      volumeMounts: [
        { name: 'conf', mountPath: '/etc/odoo', readOnly: true },
        { name: 'data', mountPath: dataDir },
        { name: 'tmp', mountPath: '/tmp' },
      ],
    },
    volumes: [
      confVolume(secret),
      { name: 'data', persistentVolumeClaim: { claimName: claim } },
      { name: 'tmp', emptyDir: { sizeLimit: '256Mi' } },
    ],
  });
}

function metadataOf(work: BackupWork, name: string, app?: string): Wire<V1ObjectMeta> {
  return { name, namespace: work.namespace, labels: { ...(app && { app }), ...labelsOf(work) } };
}

function labelsOf({ meshName, id, footprintId, cell }: BackupWork): Record<string, string> {
  return {
    [labelNames.backup]: id,
    [labelNames.footprint]: footprintId,
    [labelNames.cell]: cell,
    ...meshLabels(meshName),
  };
}

interface WorkPod {
  readonly app: string;
  readonly deadlineSeconds: number;
  readonly retries: Pick<Wire<V1JobSpec>, 'backoffLimit' | 'podFailurePolicy'>;
  readonly container: Wire<V1Container>;
  readonly volumes: Wire<V1PodSpec>['volumes'];
}

function jobOf(work: BackupWork, name: string, { app, deadlineSeconds, retries, container, volumes }: WorkPod) {
  return {
    apiVersion: 'batch/v1',
    kind: 'Job',
    metadata: metadataOf(work, name, app),
    spec: {
      ...retries,
      activeDeadlineSeconds: deadlineSeconds,
      // Two at work on one volume would write into the same files.
      podReplacementPolicy: 'Failed',
      template: {
        metadata: { labels: { app, ...labelsOf(work) } },
        spec: {
          ...restrictedPod,
          priorityClassName: `${work.meshName}-backup`,
          restartPolicy: 'Never',
          containers: [{ imagePullPolicy: 'IfNotPresent', securityContext: restricted, ...container }],
          ...(volumes && { volumes }),
        },
      },
    },
  } satisfies Wire<V1Job>;
}
