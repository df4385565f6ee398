import type { V1ContainerStatus, V1Job, V1PersistentVolumeClaim, V1Pod } from '@kubernetes/client-node';
import { Injectable, type OnApplicationShutdown } from '@nestjs/common';
import { askingCluster, FootprintWatch, Obstacle, volumeState } from '#footprints/index.js';
import { AlreadyExists, KubernetesClient, type KubernetesObject, type ObjectRef } from '#kubernetes/index.js';
import { Log } from '#observability/index.js';
import {
  type BackupWork,
  backupNames,
  backupSelector,
  filesJobManifest,
  labelNames,
  loadContainer,
  loadJobManifest,
  objectStoreSecretManifest,
  snapshotClaimManifest,
  snapshotManifest,
  type VolumeSnapshot,
} from '#odoo/index.js';
import { JobQueue } from '#persistence/index.js';
import {
  CellFiles,
  CellFilesSettings,
  type Fence,
  type FilesToFill,
  type FilesToSave,
  type JobState,
  type Site,
} from '../application/ports.js';
import { readResult } from '../domain/files-result.js';
import { Hopeless } from '../domain/hopeless.js';

const fieldManager = 'mesh-backup';
/** Of whatever kind the job is that waits for an object: its label says only the id. */
const kindsOfJobs = ['backup', 'proof', 'restore'] as const;
/** What comes together of one backup is looked at together: a Job and its pods, a claim and its volume. */
const togetherMs = 100;
/** So long a claim may be without a volume and still get one. */
const volumeIsMadeWithinMs = 60_000;
/** Of what Odoo has said, for a person. */
const linesTold = 20;

type Claim = V1PersistentVolumeClaim & KubernetesObject;
type Job = V1Job & KubernetesObject;
type Pod = V1Pod & KubernetesObject;
type Snapshot = VolumeSnapshot & KubernetesObject;

@Injectable()
export class KubernetesCellFiles extends CellFiles implements OnApplicationShutdown {
  private readonly changes: FootprintWatch;

  constructor(
    private readonly client: KubernetesClient,
    private readonly jobs: JobQueue,
    private readonly settings: CellFilesSettings,
    private readonly log: Log,
  ) {
    super();
    this.changes = new FootprintWatch(client, {
      kinds: ['VolumeSnapshot', 'PersistentVolumeClaim', 'Job', 'Pod'],
      label: labelNames.backup,
      onChange: (labels) => this.hurry(labels[labelNames.backup] ?? ''),
      onTrouble: (what, error) => this.log.warn(what, { error }),
    });
  }

  watch(namespace: string): void {
    this.changes.watch(namespace);
  }

  async snapshot(site: Site, backupId: string, attempt: string, fence: Fence): Promise<'pending' | 'ready'> {
    const work = this.workOn(site, backupId, attempt);
    const found = await this.get<Snapshot>('VolumeSnapshot', work, backupNames(backupId, attempt).snapshot);
    if (!found) {
      const { snapshotClass } = this.settings;
      await this.create(snapshotManifest(work, { claim: site.volumeClaim, snapshotClass }), fence);
      return 'pending';
    }
    const { readyToUse, error } = found.status ?? {};
    if (readyToUse && !found.metadata?.deletionTimestamp) return 'ready';
    if (error)
      throw new Obstacle('NO_SNAPSHOT', `${site.volumeClaim} has no snapshot: ${error.message ?? 'no reason'}`);
    return 'pending';
  }

  async save(site: Site, backupId: string, attempt: string, to: FilesToSave, fence: Fence): Promise<JobState> {
    const work = this.workOn(site, backupId, attempt);
    const { claim, save } = backupNames(backupId, attempt);
    const job = await this.get<Job>('Job', work, save);
    if (job) return await this.filesJobState(job, fence);
    const copy = volumeState(await this.get<Claim>('PersistentVolumeClaim', work, claim));
    if (copy === 'absent') await this.createCopy(site, work, fence);
    if (copy !== 'bound') return { state: 'runs', message: 'the snapshot becomes a volume' };
    return await this.startFilesJob(work, 'save', claim, to, fence);
  }

  async fill(site: Site, id: string, from: FilesToFill, fence: Fence): Promise<JobState> {
    const work = this.workOn(site, id);
    const job = await this.get<Job>('Job', work, backupNames(id).fill);
    if (job) return await this.filesJobState(job, fence);
    return await this.startFilesJob(work, 'fill', site.volumeClaim, from, fence);
  }

  async load(site: Site, id: string, image: string, secret: string, fence: Fence): Promise<JobState> {
    const work = this.workOn(site, id);
    const job = await this.get<Job>('Job', work, backupNames(id).load);
    if (job) return await this.loadJobState(job);
    const deadlineSeconds = this.settings.jobDeadlineSeconds;
    const claim = site.volumeClaim;
    await this.create(loadJobManifest(work, { image, secret, claim, deadlineSeconds }), fence);
    return { state: 'runs', message: 'Odoo is to open the database' };
  }

  async tidy({ namespace }: Pick<Site, 'namespace'>, id: string, fence: Fence): Promise<boolean> {
    const list = <T extends KubernetesObject>(kind: string) => this.list<T>(kind, namespace, backupSelector(id));
    // Each after what uses it: a volume that is mounted is not removed, and its snapshot may be what it consists of.
    const [jobs, pods] = await Promise.all([list<Job>('Job'), list<Pod>('Pod')]);
    for (const job of jobs) await this.remove('Job', job, fence);
    if (jobs.length > 0 || pods.length > 0) return false;
    const claims = await list<Claim>('PersistentVolumeClaim');
    for (const claim of claims) await this.removeCopy(claim, fence);
    if (claims.length > 0) return false;
    const snapshots = await list<Snapshot>('VolumeSnapshot');
    for (const snapshot of snapshots) await this.remove('VolumeSnapshot', snapshot, fence);
    return snapshots.length === 0;
  }

  async removeSnapshots(
    { namespace, footprintId }: Pick<Site, 'namespace' | 'footprintId'>,
    fence: Fence,
  ): Promise<boolean> {
    // Of ours only: who else makes some of this volume removes them.
    const selector = `${labelNames.footprint}=${footprintId},${labelNames.backup}`;
    const snapshots = await this.list<Snapshot>('VolumeSnapshot', namespace, selector);
    for (const snapshot of snapshots) await this.remove('VolumeSnapshot', snapshot, fence);
    return snapshots.length === 0;
  }

  onApplicationShutdown(): void {
    this.changes.stop();
  }

  private workOn({ footprintId, cell, namespace }: Site, id: string, attempt?: string): BackupWork {
    const { meshName } = this.settings;
    return { meshName, id, footprintId, cell, namespace, ...(attempt !== undefined && { attempt }) };
  }

  private async createCopy(site: Site, work: BackupWork, fence: Fence): Promise<void> {
    const [snapshot, source] = await Promise.all([
      this.get<Snapshot>('VolumeSnapshot', work, backupNames(work.id, work.attempt).snapshot),
      this.get<Claim>('PersistentVolumeClaim', work, site.volumeClaim),
    ]);
    // It never comes again, and a younger one would not fit the dump.
    if (!snapshot) throw new Hopeless('SNAPSHOT_LOST', `the snapshot of ${site.volumeClaim} is gone`);
    const { restoreSize } = snapshot.status ?? {};
    // A driver that does not know says 0; the copy of a volume has room where that volume has.
    const storage = Number.parseFloat(restoreSize ?? '0') > 0 ? restoreSize : source?.status?.capacity?.storage;
    if (storage === undefined) throw new Hopeless('VOLUME_LOST', `PersistentVolumeClaim ${site.volumeClaim} is gone`);
    const storageClass = source?.spec?.storageClassName ?? this.settings.storageClass;
    const access = this.settings.snapshotAccess;
    await this.create(snapshotClaimManifest(work, { storageClass, access, storage }), fence);
  }

  private async startFilesJob(
    work: BackupWork,
    kind: 'save' | 'fill',
    claim: string,
    task: FilesToSave | FilesToFill,
    fence: Fence,
  ): Promise<JobState> {
    const { objectStoreAccess, filesImage, jobDeadlineSeconds } = this.settings;
    // Each time, so that keys that were changed are the ones that a Job gets.
    const secret = objectStoreSecretManifest(work, objectStoreAccess);
    await askingCluster(this.client.apply(secret as KubernetesObject, fieldManager, { fence }));
    const manifest = filesJobManifest(work, kind, {
      image: filesImage,
      claim,
      task: JSON.stringify({ kind, ...task }),
      deadlineSeconds: jobDeadlineSeconds,
    });
    await this.create(manifest, fence);
    return { state: 'runs', message: 'a Job is to carry the files' };
  }

  private async filesJobState(job: Job, fence: Fence): Promise<JobState> {
    const outcome = outcomeOf(job);
    const pods = await this.podsOf(job);
    if (outcome === 'runs') return { state: 'runs', message: whatPodsDo(pods) };
    const results = pods.map((pod) => readResult(messageOf(pod)));
    if (outcome === 'succeeded') {
      const result = results.find((one) => one !== undefined && !('code' in one));
      if (result && !('code' in result)) return { state: 'done', files: result.files, bytes: result.bytes };
      if (!this.settings.nodesRun) return { state: 'simulated' };
      if (pods.length > 0)
        return { state: 'failed', code: 'FILES_NO_RESULT', message: `${this.settings.filesImage} told no result` };
      // Done, but how much that was went with the pod. Once more is little work.
      await this.remove('Job', job, fence);
      return { state: 'runs', message: 'what the Job told is lost with its pod; it comes again' };
    }
    if (outcome.reason === 'DeadlineExceeded')
      return { state: 'failed', code: 'FILES_TOO_LATE', message: outcome.message };
    const result = results.findLast((one) => one !== undefined && 'code' in one);
    if (result && 'code' in result) return { state: 'failed', ...result };
    return { state: 'failed', code: 'FILES_NOT_CARRIED', message: `${outcome.message}; ${whatPodsDo(pods)}` };
  }

  private async loadJobState(job: Job): Promise<JobState> {
    const outcome = outcomeOf(job);
    if (outcome === 'succeeded')
      return this.settings.nodesRun ? { state: 'done', files: 0, bytes: 0 } : { state: 'simulated' };
    const pods = await this.podsOf(job);
    if (outcome === 'runs') return { state: 'runs', message: whatPodsDo(pods) };
    const pod = pods.at(-1);
    // Whether it would have, nobody has seen.
    if (!pod || outcome.reason === 'DeadlineExceeded')
      return { state: 'failed', code: 'LOAD_NOT_SEEN', message: `${outcome.message}; ${whatPodsDo(pods)}` };
    const ref = { name: pod.metadata!.name!, namespace: pod.metadata!.namespace! };
    const text = await askingCluster(this.client.logs(ref, loadContainer, { limitBytes: 20_000 }));
    const said = text.trimEnd().split('\n').slice(-linesTold).join('\n');
    return { state: 'failed', code: 'ODOO_DOES_NOT_LOAD', message: said || outcome.message };
  }

  /** The oldest first. */
  private async podsOf({ metadata }: Job): Promise<Pod[]> {
    const pods = await this.list<Pod>('Pod', metadata!.namespace!, `batch.kubernetes.io/job-name=${metadata!.name}`);
    return pods.sort((one, other) => bornAt(one) - bornAt(other));
  }

  /** The volume goes with it: it is a copy. */
  private async removeCopy(claim: Claim, fence: Fence): Promise<void> {
    const { spec, metadata } = claim;
    // No label is worth an instance's files: a claim that no snapshot was the source of is not ours to remove.
    if (spec?.dataSource?.kind !== 'VolumeSnapshot')
      throw new Obstacle('NOT_A_COPY', `PersistentVolumeClaim ${metadata?.name} is no copy of a snapshot`);
    if (volumeState(claim) === 'pending' && Date.now() - bornAt(claim) < volumeIsMadeWithinMs) return;
    if (spec.volumeName && !metadata!.deletionTimestamp) {
      const volume = { kind: 'PersistentVolume', name: spec.volumeName };
      const released = { spec: { persistentVolumeReclaimPolicy: 'Delete' } };
      await askingCluster(this.client.merge(volume, released, fieldManager, { fence }));
    }
    await this.remove('PersistentVolumeClaim', claim, fence);
  }

  private async get<T extends KubernetesObject>(
    kind: string,
    { namespace }: { readonly namespace: string },
    name: string,
  ): Promise<T | undefined> {
    return await askingCluster(this.client.get<T>({ kind, name, namespace }));
  }

  private async list<T extends KubernetesObject>(kind: string, namespace: string, selector: string): Promise<T[]> {
    return await askingCluster(this.client.list<T>(kind, namespace, selector));
  }

  /** One that is there already was made by an earlier run, of the same. */
  private async create(manifest: object, fence: Fence): Promise<void> {
    try {
      await askingCluster(this.client.create(manifest as KubernetesObject, fieldManager, { fence }));
    } catch (error) {
      if (!(error instanceof AlreadyExists)) throw error;
    }
  }

  private async remove(kind: string, { metadata }: KubernetesObject, fence: Fence): Promise<void> {
    if (metadata!.deletionTimestamp) return;
    const ref: ObjectRef = { kind, name: metadata!.name!, namespace: metadata!.namespace! };
    await askingCluster(this.client.delete(ref, { uid: metadata!.uid! }, { fence }));
  }

  private hurry(id: string): void {
    this.jobs
      .hurry(kindsOfJobs, id, togetherMs)
      .catch((error) => this.log.warn('a change was seen and could not be noted', { id, error }));
  }
}

type Outcome = 'runs' | 'succeeded' | { readonly reason: string; readonly message: string };

function outcomeOf({ status, metadata }: Job): Outcome {
  if (metadata?.deletionTimestamp) return 'runs';
  if (status?.succeeded) return 'succeeded';
  const failed = status?.conditions?.find((one) => one.type === 'Failed' && one.status === 'True');
  return failed ? { reason: failed.reason ?? '', message: failed.message ?? 'the Job failed' } : 'runs';
}

function messageOf({ status }: Pod): string | undefined {
  return status?.containerStatuses?.[0]?.state?.terminated?.message;
}

/** The newest one, in words. */
function whatPodsDo(pods: readonly Pod[]): string {
  const { metadata, status } = pods.at(-1) ?? {};
  if (!status) return 'no pod is there yet';
  const [container]: (V1ContainerStatus | undefined)[] = status.containerStatuses ?? [];
  const { waiting, terminated } = container?.state ?? {};
  const unscheduled = status.conditions?.find(({ type, status: is }) => type === 'PodScheduled' && is === 'False');
  const detail = waiting ?? terminated ?? unscheduled;
  const words = [detail?.reason, detail?.message].filter((word) => word).join(': ');
  return `pod ${metadata?.name} is ${status.phase}${words && ` (${words})`}`;
}

const bornAt = ({ metadata }: KubernetesObject) =>
  new Date((metadata as { creationTimestamp?: string } | undefined)?.creationTimestamp ?? 0).getTime();
