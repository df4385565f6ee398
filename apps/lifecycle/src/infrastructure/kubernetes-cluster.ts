import { randomBytes } from 'node:crypto';
import type {
  V1Deployment,
  V1Job,
  V1PersistentVolumeClaim,
  V1Pod,
  V1ResourceQuota,
  V1Secret,
} from '@kubernetes/client-node';
import { Injectable, type OnApplicationShutdown } from '@nestjs/common';
import { askingCluster, FootprintWatch, Obstacle, workloadState } from '#footprints/index.js';
import { AlreadyExists, KubernetesClient, type KubernetesObject } from '#kubernetes/index.js';
import { Log } from '#observability/index.js';
import {
  countsPod,
  type Demand,
  deploymentManifest,
  epochAnnotation,
  type FootprintSpec,
  footprintNames,
  type IngressRoute,
  ingressRouteManifest,
  labelNames,
  odooConf,
  podDemand,
  podSpec,
  quantityOf,
  type RouteTarget,
  secretManifest,
  serviceManifest,
  sumOf,
  targetOf,
  tenantLabels,
  upgradeContainers,
  upgradeJobManifest,
} from '#odoo/index.js';
import { JobQueue } from '#persistence/index.js';
import { type CellRoom, Cluster, type Fence, LifecycleSettings, TenantShards } from '../application/ports.js';
import { hostsOf, type Instance, placeOf, planOf } from '../domain/instance.js';
import type { Seen } from '../domain/next-step.js';
import type { Quota } from '../domain/preflight.js';

const fieldManager = 'mesh-footprint';

@Injectable()
export class KubernetesCluster extends Cluster implements OnApplicationShutdown {
  private readonly changes: FootprintWatch;
  /** Of footprints that were looked at here: their pods say only which footprint they are. */
  private readonly instanceOf = new Map<string, string>();

  constructor(
    private readonly client: KubernetesClient,
    private readonly shards: TenantShards,
    private readonly jobs: JobQueue,
    private readonly settings: LifecycleSettings,
    private readonly log: Log,
  ) {
    super();
    this.changes = new FootprintWatch(client, {
      kinds: ['Deployment', 'Pod', 'Job'],
      // Only woken by it: the reconciler reads the objects themselves.
      onChange: (labels) => this.hurry(labels[labelNames.footprint] ?? ''),
      onTrouble: (what, error) => this.log.warn(what, { error }),
    });
  }

  watch(namespace: string): void {
    this.changes.watch(namespace);
  }

  async observe(instance: Instance): Promise<Omit<Seen, 'site'>> {
    const { names, namespace, footprintId } = this.specOf(instance, 1);
    this.instanceOf.set(footprintId, instance.instanceId);
    const [secret, deployment, route, pods] = await askingCluster(
      Promise.all([
        this.client.get({ kind: 'Secret', name: names.secret, namespace }),
        this.client.get<Deployment>({ kind: 'Deployment', name: names.object, namespace }),
        this.client.get<IngressRoute & KubernetesObject>({ kind: 'IngressRoute', name: names.object, namespace }),
        this.client.list<V1Pod & KubernetesObject>('Pod', namespace, `app=odoo,${labelNames.footprint}=${footprintId}`),
      ]),
    );
    return {
      secret: secret !== undefined,
      workload: workloadOf(deployment),
      pods: pods.length,
      route: route
        ? {
            uid: route.metadata!.uid!,
            version: route.metadata!.resourceVersion!,
            epoch: epochOf(route),
            to: targetOf(route, instance.live.host),
          }
        : 'absent',
    };
  }

  async ensureSecret(instance: Instance, password: 'as before' | 'new', fence: Fence): Promise<void> {
    const spec = this.specOf(instance, 1);
    const there = await askingCluster(
      this.client.get({ kind: 'Secret', name: spec.names.secret, namespace: spec.namespace }),
    );
    if (there) return;
    const secret = password === 'new' ? randomBytes(24).toString('hex') : await this.lastPassword(instance);
    const { host, port } = this.shards.addressOf(instance);
    const conf = odooConf({
      databaseHost: host,
      databasePort: port,
      database: instance.live.database,
      role: spec.names.role,
      password: secret,
      adminPassword: randomBytes(24).toString('hex'),
      databasePool: spec.plan.databasePool,
      memoryLimitBytes: spec.plan.memoryLimitBytes,
    });
    try {
      await askingCluster(
        this.client.create(secretManifest(spec, conf, secret) as KubernetesObject, fieldManager, { fence }),
      );
    } catch (error) {
      // An earlier run made it, and its password may already be in use.
      if (!(error instanceof AlreadyExists)) throw error;
    }
  }

  async passwordOf(instance: Instance): Promise<string> {
    const { names, namespace } = this.specOf(instance, 1);
    const found = await this.passwordIn(names.secret, namespace);
    if (!found) throw new Obstacle('SECRET_LOST', `Secret ${names.secret} is gone or holds no password`);
    return found;
  }

  async applyWorkload(instance: Instance, replicas: 0 | 1, seen: Seen, fence: Fence): Promise<void> {
    const manifest = deploymentManifest(this.specOf(instance, replicas));
    await this.applyIfUnchanged(manifest, seen.workload, fence);
  }

  async applyRoute(instance: Instance, to: RouteTarget, seen: Seen, fence: Fence): Promise<void> {
    const former = (instance.live.formerHosts ?? []).map((one) => one.host);
    const manifest = ingressRouteManifest(this.specOf(instance, 1), hostsOf(instance.live), to, former);
    await this.applyIfUnchanged(manifest, seen.route, fence);
  }

  /** A request that was on its way for a long time changes nothing that somebody else has changed meanwhile. */
  private async applyIfUnchanged(
    manifest: { readonly metadata?: object },
    seen: string | { readonly version: string },
    fence: Fence,
  ): Promise<void> {
    const version = typeof seen === 'object' ? { resourceVersion: seen.version } : {};
    const object = { ...manifest, metadata: { ...manifest.metadata, ...version } };
    await askingCluster(this.client.apply(object as KubernetesObject, fieldManager, { fence }));
  }

  async takeOver(instance: Instance, fence: Fence): Promise<void> {
    const spec = this.specOf(instance, 0);
    const { names, namespace, tenant } = spec;
    const labelled = { metadata: { labels: tenantLabels(tenant!) } };
    await askingCluster(this.client.apply(serviceManifest(spec) as KubernetesObject, fieldManager, { fence }));
    for (const ref of [
      { kind: 'PersistentVolumeClaim', name: names.object, namespace },
      { kind: 'Secret', name: names.secret, namespace },
    ])
      await askingCluster(this.client.merge(ref, labelled, fieldManager, { fence }));
  }

  async removeRoute(instance: Instance, seen: Seen['route'], fence: Fence): Promise<void> {
    if (seen === 'absent') return;
    const { names, namespace } = this.specOf(instance, 0);
    const ref = { kind: 'IngressRoute', name: names.object, namespace };
    const { uid, version: resourceVersion } = seen;
    await askingCluster(this.client.delete(ref, { uid, resourceVersion }, { fence }));
  }

  async removeSecret(instance: Instance, fence: Fence): Promise<void> {
    const { names, namespace } = this.specOf(instance, 0);
    const ref = { kind: 'Secret', name: names.secret, namespace };
    const uid = (await askingCluster(this.client.get(ref)))?.metadata?.uid;
    if (uid) await askingCluster(this.client.delete(ref, { uid }, { fence }));
  }

  async growVolume(instance: Instance, fence: Fence): Promise<void> {
    const { names, namespace } = this.specOf(instance, 1);
    const ref = { kind: 'PersistentVolumeClaim', name: names.object, namespace };
    const claim = await askingCluster(this.client.get<V1PersistentVolumeClaim & KubernetesObject>(ref));
    if (!claim) throw new Obstacle('VOLUME_LOST', `PersistentVolumeClaim ${names.object} is gone`);
    const wanted = instance.live.storageBytes;
    if (quantityOf(claim.spec?.resources?.requests?.storage ?? '0') >= wanted) return;
    const spec = { resources: { requests: { storage: String(wanted) } } };
    await askingCluster(this.client.merge(ref, { spec }, fieldManager, { fence }));
  }

  async startUpdate(instance: Instance, from: string, modules: readonly string[], fence: Fence): Promise<void> {
    const spec = this.specOf(instance, 0);
    const manifest = upgradeJobManifest(spec, { name: updateName(instance), from, modules });
    try {
      await askingCluster(this.client.create(manifest as KubernetesObject, fieldManager, { fence }));
    } catch (error) {
      if (!(error instanceof AlreadyExists)) throw error;
    }
  }

  async observeUpdate(instance: Instance): Promise<'absent' | 'runs' | 'succeeded' | 'failed'> {
    this.instanceOf.set(instance.live.footprintId, instance.instanceId);
    const ref = { kind: 'Job', name: updateName(instance), namespace: placeOf(instance).namespace };
    const job = await askingCluster(this.client.get<V1Job & KubernetesObject>(ref));
    if (!job) return 'absent';
    if (job.status?.succeeded) return 'succeeded';
    return job.status?.failed ? 'failed' : 'runs';
  }

  async logOfUpdate(instance: Instance): Promise<string | undefined> {
    const { namespace } = placeOf(instance);
    const selector = `batch.kubernetes.io/job-name=${updateName(instance)}`;
    const [pod] = await askingCluster(this.client.list<V1Pod & KubernetesObject>('Pod', namespace, selector));
    if (!pod) throw new Obstacle('LOG_LOST', `the pod of ${updateName(instance)} is gone, and its log with it`);
    const { initContainerStatuses = [], containerStatuses = [] } = pod.status ?? {};
    const ran = [...initContainerStatuses, ...containerStatuses]
      .filter(({ state }) => state?.terminated ?? state?.running)
      .map(({ name }) => name);
    // Where nobody waits for an answer at a host, no node runs anything: there is no log to be had.
    if (this.settings.routerUrl === undefined) return undefined;
    const texts = upgradeContainers
      .filter((container) => ran.includes(container))
      .map((container) =>
        this.client.logs({ name: pod.metadata!.name!, namespace }, container, { limitBytes: 200_000 }),
      );
    return (await askingCluster(Promise.all(texts))).join('\n');
  }

  async removeUpdates(instance: Instance, fence: Fence): Promise<boolean> {
    const { namespace } = placeOf(instance);
    const { footprintId } = instance.live;
    const selector = `${labelNames.footprint}=${footprintId}`;
    const [jobs, pods] = await askingCluster(
      Promise.all([
        // Its own: Jobs of a backup are the footprint's too.
        this.client.list('Job', namespace, `app=odoo,${selector}`),
        this.client.list('Pod', namespace, `app=odoo-job,${selector}`),
      ]),
    );
    for (const { metadata } of jobs) {
      const ref = { kind: 'Job', name: metadata!.name!, namespace };
      if (!metadata!.deletionTimestamp)
        await askingCluster(this.client.delete(ref, { uid: metadata!.uid! }, { fence }));
    }
    return jobs.length === 0 && pods.length === 0;
  }

  async dropOldSecrets(instance: Instance, fence: Fence): Promise<void> {
    const { live } = instance;
    const { namespace } = placeOf(instance);
    let missing = 0;
    // Downwards, until there is nothing any more: one that was only meant, and never made, leaves a gap.
    for (let version = live.lastSecretVersion - 2; version >= 1 && missing < 2; version--) {
      if (version === live.secretVersion) continue;
      const { secret } = footprintNames(this.settings.meshName, live.footprintId, version);
      const ref = { kind: 'Secret', name: secret, namespace };
      const uid = (await askingCluster(this.client.get(ref)))?.metadata?.uid;
      if (uid) await askingCluster(this.client.delete(ref, { uid }, { fence }));
      else missing += 1;
    }
  }

  onApplicationShutdown(): void {
    this.changes.stop();
  }

  async lookForRoom(instance: Instance): Promise<CellRoom> {
    const spec = this.specOf(instance, 0);
    const { names, namespace, footprintId } = spec;
    const [claim, quotas, pods] = await askingCluster(
      Promise.all([
        this.client.get<V1PersistentVolumeClaim & KubernetesObject>({
          ...{ kind: 'PersistentVolumeClaim', name: names.object, namespace },
        }),
        this.client.list<V1ResourceQuota & KubernetesObject>('ResourceQuota', namespace),
        this.client.list<V1Pod & KubernetesObject>('Pod', namespace, `app=odoo,${labelNames.footprint}=${footprintId}`),
      ]),
    );
    if (!claim) throw new Obstacle('VOLUME_LOST', `PersistentVolumeClaim ${names.object} is gone`);
    const capacity = claim.status?.capacity?.storage;
    if (!capacity) throw new Obstacle('VOLUME_UNKNOWN', `of volume ${names.object} nobody says how large it is`);
    const update = upgradeJobManifest(spec, { name: updateName(instance), from: names.database, modules: [] });
    const { priorityClassName } = podSpec(spec);
    return {
      volume: { name: names.object, bytes: quantityOf(capacity) },
      quotas: quotas.filter((one) => countsPod(one.spec ?? {}, priorityClassName!)).map(quotaOf),
      update: { ...podDemand(update.spec!.template.spec!), 'count/jobs.batch': 1 },
      own: sumOf(pods.filter(isCounted).map((pod) => podDemand(pod.spec!))),
    };
  }

  /** Of the newest version that is there below the live one. */
  private async lastPassword(instance: Instance): Promise<string> {
    const { live } = instance;
    const { namespace } = placeOf(instance);
    for (let version = live.secretVersion - 1; version >= 1; version--) {
      const { secret } = footprintNames(this.settings.meshName, live.footprintId, version);
      const found = await this.passwordIn(secret, namespace);
      if (found) return found;
    }
    throw new Obstacle('SECRET_LOST', 'none of its Secrets is left, and its password stood nowhere else');
  }

  private async passwordIn(name: string, namespace: string): Promise<string | undefined> {
    const secret = await askingCluster(
      this.client.get<V1Secret & KubernetesObject>({ kind: 'Secret', name, namespace }),
    );
    const password = secret?.data?.['database-password'];
    return password ? Buffer.from(password, 'base64').toString() : undefined;
  }

  private hurry(footprintId: string): void {
    const instanceId = this.instanceOf.get(footprintId);
    if (!instanceId) return;
    this.jobs
      .hurry('instance', instanceId)
      .catch((error) => this.log.warn('a change was seen and could not be noted', { instanceId, error }));
  }

  private specOf(instance: Instance, replicas: 0 | 1): FootprintSpec {
    const { instanceId, placed, live, epoch } = instance;
    const { cell, namespace, template } = placeOf(instance);
    const names = footprintNames(this.settings.meshName, live.footprintId, live.secretVersion);
    return {
      meshName: this.settings.meshName,
      names: { ...names, database: live.database },
      namespace,
      cell,
      footprintId: live.footprintId,
      tenant: { instanceId, customerId: placed.specification.customerId, host: live.host },
      epoch,
      plan: planOf(live.plan),
      entry: this.settings.entry,
      image: live.image,
      templateDatabase: template.database,
      storageClass: this.settings.storageClass,
      replicas,
    };
  }
}

/** Each try has a name of its own. */
function updateName({ live }: Instance): string {
  return `${footprintNames('mesh', live.footprintId).object}-update-${live.copies}`;
}

type Deployment = V1Deployment & KubernetesObject;

function workloadOf(deployment: Deployment | undefined): Seen['workload'] {
  const state = workloadState(deployment);
  if (typeof state === 'string') return state;
  const { metadata, spec } = deployment!;
  return { ...state, version: metadata!.resourceVersion!, epoch: epochOf(deployment!), replicas: spec?.replicas ?? 1 };
}

function epochOf({ metadata }: { readonly metadata?: { readonly annotations?: unknown } }): number {
  return Number((metadata?.annotations as Record<string, string> | undefined)?.[epochAnnotation] ?? 0) || 0;
}

/** Quotas count no pod that has come to its end. */
function isCounted({ status }: V1Pod): boolean {
  return status?.phase !== 'Succeeded' && status?.phase !== 'Failed';
}

/** Throws an Obstacle for one that nobody has counted for yet: the server lets nothing in by it either. */
function quotaOf({ metadata, spec, status }: V1ResourceQuota): Quota {
  const name = metadata!.name!;
  const { hard, used } = status ?? {};
  if (Object.keys(spec?.hard ?? {}).some((resource) => !hard?.[resource] || !used?.[resource]))
    throw new Obstacle('QUOTA_UNKNOWN', `what is taken of quota ${name} was not counted yet`);
  return { name, hard: amountsOf(hard), used: amountsOf(used) };
}

function amountsOf(quantities: Readonly<Record<string, string>> | undefined): Demand {
  return Object.fromEntries(Object.entries(quantities ?? {}).map(([name, text]) => [name, quantityOf(text)]));
}
