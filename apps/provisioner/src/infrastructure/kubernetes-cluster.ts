import { randomBytes } from 'node:crypto';
import type { V1Deployment, V1PersistentVolumeClaim, V1Pod, V1Secret } from '@kubernetes/client-node';
import { Injectable, type OnApplicationShutdown } from '@nestjs/common';
import { askingCluster, FootprintWatch, Obstacle, volumeState, workloadState } from '#footprints/index.js';
import { AlreadyExists, KubernetesClient, type KubernetesObject, type ObjectRef } from '#kubernetes/index.js';
import { Log } from '#observability/index.js';
import {
  deploymentManifest,
  type FootprintNames,
  type FootprintSpec,
  footprintNames,
  ingressRouteManifest,
  labelNames,
  odooConf,
  secretManifest,
  serviceManifest,
  tenantLabels,
  volumeClaimManifest,
} from '#odoo/index.js';
import { JobQueue } from '#persistence/index.js';
import { Cluster, type Fence, type OnCluster, ProvisionerSettings, TenantShards } from '../application/ports.js';
import { type Footprint, orderOf, planOf } from '../domain/footprint.js';
import type { Remains } from '../domain/next-removal.js';

const fieldManager = 'mesh-footprint';
const volumeIsMadeWithinMs = 60_000;
const kindsOfWorkload = ['IngressRoute', 'Deployment', 'Service'] as const;

@Injectable()
export class KubernetesCluster extends Cluster implements OnApplicationShutdown {
  private readonly changes: FootprintWatch;

  constructor(
    private readonly client: KubernetesClient,
    private readonly shards: TenantShards,
    private readonly jobs: JobQueue,
    private readonly settings: ProvisionerSettings,
    private readonly log: Log,
  ) {
    super();
    this.changes = new FootprintWatch(client, {
      kinds: ['Deployment', 'PersistentVolumeClaim'],
      // Only woken by it: the reconciler reads the objects themselves.
      onChange: (labels) => this.hurry(labels[labelNames.footprint] ?? ''),
      onTrouble: (what, error) => this.log.warn(what, { error }),
    });
  }

  watch(namespace: string): void {
    this.changes.watch(namespace);
  }

  async observe(footprint: Footprint): Promise<OnCluster> {
    const { names, namespace } = this.specOf(footprint);
    const [secret, claim, deployment, route] = await askingCluster(
      Promise.all([
        this.client.get({ kind: 'Secret', name: names.secret, namespace }),
        this.client.get<V1PersistentVolumeClaim & KubernetesObject>({
          kind: 'PersistentVolumeClaim',
          name: names.object,
          namespace,
        }),
        this.client.get<V1Deployment & KubernetesObject>({ kind: 'Deployment', name: names.object, namespace }),
        this.client.get({ kind: 'IngressRoute', name: names.object, namespace }),
      ]),
    );
    return {
      secret: secret ? 'present' : 'absent',
      volumeClaim: volumeState(claim),
      deployment: workloadState(deployment),
      routed: route !== undefined,
    };
  }

  async createSecret(footprint: Footprint, fence: Fence): Promise<void> {
    const spec = this.specOf(footprint);
    const password = randomBytes(24).toString('hex');
    const { host, port } = this.shards.addressOf(footprint);
    const conf = odooConf({
      databaseHost: host,
      databasePort: port,
      database: spec.names.database,
      role: spec.names.role,
      password,
      adminPassword: randomBytes(24).toString('hex'),
      databasePool: spec.plan.databasePool,
      memoryLimitBytes: spec.plan.memoryLimitBytes,
    });
    try {
      await askingCluster(
        this.client.create(secretManifest(spec, conf, password) as KubernetesObject, fieldManager, { fence }),
      );
    } catch (error) {
      // An earlier run made it, and its password may already be in use.
      if (!(error instanceof AlreadyExists)) throw error;
    }
  }

  async passwordOf(footprint: Footprint): Promise<string> {
    const { names, namespace } = this.specOf(footprint);
    const ref = { kind: 'Secret', name: names.secret, namespace };
    const secret = await askingCluster(this.client.get<V1Secret & KubernetesObject>(ref));
    const password = secret?.data?.['database-password'];
    if (!password) throw new Obstacle('SECRET_LOST', `Secret ${names.secret} is gone or holds no password`);
    return Buffer.from(password, 'base64').toString();
  }

  async applyVolume(footprint: Footprint, fence: Fence): Promise<void> {
    const manifest = volumeClaimManifest(this.specOf(footprint)) as KubernetesObject;
    await askingCluster(this.client.apply(manifest, fieldManager, { fence }));
  }

  async applyWorkload(footprint: Footprint, fence: Fence): Promise<void> {
    const spec = this.specOf(footprint);
    const { tenant } = spec;
    const apply = (manifest: object) => this.client.apply(manifest as KubernetesObject, fieldManager, { fence });
    const standing = () => Promise.all([serviceManifest(spec), deploymentManifest(spec)].map(apply));
    const route = async () => tenant && (await apply(ingressRouteManifest(spec, [tenant.host])));
    if (tenant && orderOf(footprint).claim !== 'new') {
      // The route comes last: it is by the route that a claimed spare is known as done.
      await askingCluster(Promise.all([standing(), this.labelClaimed(spec, tenant, fence)]));
      await askingCluster(route());
    } else await askingCluster(Promise.all([standing(), route()]));
  }

  /** What was there before its instance is told whose it is now; nothing of it restarts. */
  private async labelClaimed(
    spec: FootprintSpec,
    tenant: NonNullable<FootprintSpec['tenant']>,
    fence: Fence,
  ): Promise<void> {
    const { namespace, names, footprintId } = spec;
    const pods = await this.client.list<V1Pod & KubernetesObject>(
      'Pod',
      namespace,
      `${labelNames.footprint}=${footprintId}`,
    );
    const label = (ref: ObjectRef) =>
      this.client.merge(ref, { metadata: { labels: tenantLabels(tenant) } }, fieldManager, { fence });
    await Promise.all([
      label({ kind: 'Secret', name: names.secret, namespace }),
      label({ kind: 'PersistentVolumeClaim', name: names.object, namespace }),
      ...pods.map(({ metadata }) => label({ kind: 'Pod', name: metadata!.name!, namespace })),
    ]);
  }

  async remains(footprint: Footprint): Promise<Remains['cluster']> {
    const { names, namespace } = this.specOf(footprint);
    const selector = `${labelNames.footprint}=${footprint.footprintId}`;
    const [workload, pods, claim, secrets] = await Promise.all([
      Promise.all(kindsOfWorkload.map((kind) => this.client.get({ kind, name: names.object, namespace }))),
      this.client.list<V1Pod & KubernetesObject>('Pod', namespace, selector),
      this.client.get<V1PersistentVolumeClaim & KubernetesObject>({
        kind: 'PersistentVolumeClaim',
        name: names.object,
        namespace,
      }),
      Promise.all(secretsOf(footprint, names).map((name) => this.client.get({ kind: 'Secret', name, namespace }))),
    ]);
    return {
      workload: workload.some((object) => object !== undefined),
      pods: pods.length,
      volume: claim !== undefined || secrets.some((secret) => secret !== undefined),
      binding: isBinding(claim),
    };
  }

  async removeWorkload(footprint: Footprint, fence: Fence): Promise<void> {
    const { names, namespace } = this.specOf(footprint);
    for (const kind of kindsOfWorkload) await this.remove({ kind, name: names.object, namespace }, fence);
  }

  async removeVolume(footprint: Footprint, fence: Fence): Promise<void> {
    const { names, namespace } = this.specOf(footprint);
    const ref = { kind: 'PersistentVolumeClaim', name: names.object, namespace };
    const claim = await this.client.get<V1PersistentVolumeClaim & KubernetesObject>(ref);
    if (claim?.spec?.volumeName) {
      // The class says Retain, so that no slip of ours destroys files. This is the one place that means it.
      const volume = { kind: 'PersistentVolume', name: claim.spec.volumeName };
      await this.client.merge(volume, { spec: { persistentVolumeReclaimPolicy: 'Delete' } }, fieldManager, { fence });
    }
    await this.remove(ref, fence);
    for (const name of secretsOf(footprint, names)) await this.remove({ kind: 'Secret', name, namespace }, fence);
  }

  onApplicationShutdown(): void {
    this.changes.stop();
  }

  private async remove(ref: ObjectRef, fence: Fence): Promise<void> {
    const object = await this.client.get(ref);
    const uid = object?.metadata?.uid;
    if (uid && !object?.metadata?.deletionTimestamp) await this.client.delete(ref, { uid }, { fence });
  }

  private hurry(footprintId: string): void {
    this.jobs
      .hurry('footprint', footprintId)
      .catch((error) => this.log.warn('a change was seen and could not be noted', { footprintId, error }));
  }

  private specOf(footprint: Footprint): FootprintSpec {
    const { footprintId, placed, epoch } = footprint;
    const plan = planOf(footprint);
    return {
      meshName: this.settings.meshName,
      names: footprintNames(this.settings.meshName, footprintId),
      namespace: placed.namespace,
      cell: placed.cell,
      footprintId,
      tenant:
        'specification' in placed
          ? { instanceId: placed.instanceId, customerId: placed.specification.customerId, host: placed.host }
          : null,
      epoch,
      plan,
      entry: this.settings.entry,
      image: placed.template.image,
      templateDatabase: placed.template.database,
      storageClass: this.settings.storageClass,
      replicas: 1,
    };
  }
}

/** Pending and young: an older one waits for something that does not come, and nobody makes a volume for it. */
function isBinding(claim: (V1PersistentVolumeClaim & KubernetesObject) | undefined): boolean {
  if (volumeState(claim) !== 'pending') return false;
  return Date.now() - new Date(claim!.metadata!.creationTimestamp!).getTime() < volumeIsMadeWithinMs;
}

/**
 * Those that an approval names. A removal names none: then those that lifecycle keeps, which are the last two, and any that
 * it has made since it told us of one.
 */
function secretsOf({ approval, residence }: Footprint, { object, secret }: FootprintNames): string[] {
  const last = Number(residence?.secret?.slice(`${object}-v`.length) ?? 1);
  const near = [-1, 0, 1, 2].map((more) => `${object}-v${Math.max(1, last + more)}`);
  return [...new Set([secret, ...(approval?.secrets ?? []), ...(residence ? near : [])])];
}
