import { createHash, randomBytes } from 'node:crypto';
import { mkdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import type { V1Job, V1PersistentVolumeClaim, V1Pod } from '@kubernetes/client-node';
import { KubernetesClient, type KubernetesObject } from '#kubernetes/index.js';
import {
  cellManifests,
  dataDir,
  type FootprintSpec,
  findPlan,
  type JobWork,
  jobManifest,
  modulesOf,
  odooConf,
  secretManifest,
  volumeClaimManifest,
} from '#odoo/index.js';
import { beginTemplate, finishTemplate, isPublished, type Shard } from '#tenant-databases/index.js';
import { copyFromPod } from './copy-from-pod.js';

export interface TemplateOrder {
  readonly meshName: string;
  /** An administrator's. */
  readonly kubeconfig: string;
  readonly shard: Shard;
  readonly storageClass: string;
  readonly clusterNetworks: readonly string[];
  readonly databases: readonly { readonly cidr: string; readonly port: number }[];
  /** Odoo without any template's files. */
  readonly image: string;
  /** Odoo's, `18.0`. */
  readonly version: string;
  readonly bundle: string;
  readonly language: string;
  /** An empty folder for the template's files. */
  readonly folder: string;
  /** Makes the image that instances run: Odoo with these files below `/opt/template/<database>`. @returns its name. */
  readonly withFiles: (database: string, files: string) => Promise<string>;
  /** Told when a step is done. */
  readonly told: (step: string, ms: number) => void;
}

const fieldManager = 'mesh-templates';
/** The installation of 80 modules took 84 s on two cores (facts: odoo-in-a-pod §1). */
const jobWithinMs = 20 * 60_000;

/**
 * A template as production makes it: Odoo itself installs the bundle's modules into an empty database, is visited once so
 * that its pages are made, and stops; its files become a layer of its image; its database is frozen. Made again only when
 * something of what it is made from has changed. Killed anywhere it can be run again. @returns the template's database.
 */
export async function makeTemplate(order: TemplateOrder): Promise<string> {
  const { meshName, shard, image, version, bundle, language, told } = order;
  const modules = modulesOf(bundle);
  if (!modules) throw new Error(`there is no bundle ${bundle}`);
  const tag = `${version.replace(/\D/g, '_')}_${bundle}_${language}`.toLowerCase();
  const database = `${meshName.replaceAll('-', '_')}_tpl_${tag}`;
  const made = { image, version, bundle, language, modules };
  const content = createHash('sha256').update(JSON.stringify(made)).digest('hex');
  if (await isPublished(shard, database, content)) return database;

  const client = new KubernetesClient({ kubeconfig: order.kubeconfig });
  const workshop = new Workshop(client, specOf(order, database), told);
  const step = async (name: string, work: () => Promise<unknown>) => {
    const begun = performance.now();
    await work();
    told(name, Math.round(performance.now() - begun));
  };
  try {
    await workshop.clear();
    const password = randomBytes(24).toString('hex');
    await step('empty database', () => beginTemplate(shard, database, password));
    await step('namespace, volume', () => workshop.open(order, confOf(order, database, password), password));
    const install = ['-i', modules.join(','), '--stop-after-init', '--no-http', '--without-demo=all'];
    await workshop.run({ name: 'install', args: [...install, `--load-language=${language}`] });
    const script = readFileSync(new URL('warm.py', sourceFolder()), 'utf8');
    await workshop.run({ name: 'warm', command: ['python3', '-c', script, database], besideOdoo: true });
    const files = join(order.folder, database);
    mkdirSync(files, { recursive: true });
    await step('files', () => workshop.copyFiles(order.kubeconfig, `${dataDir}/filestore/${database}`, files));
    await workshop.clear();
    let named = '';
    await step('image', async () => {
      named = await order.withFiles(database, files);
    });
    await step('freeze', () => finishTemplate(shard, { database, image: named, version, bundle, language }, content));
    return database;
  } finally {
    await client.close();
  }
}

/** The script stands beside the source; compiled, this file is below dist. */
function sourceFolder(): URL {
  const here = new URL('.', import.meta.url);
  return new URL(here.href.replace('/dist/deploy/', '/deploy/'));
}

function specOf(order: TemplateOrder, database: string): FootprintSpec {
  const object = database.replaceAll('_', '-');
  return {
    meshName: order.meshName,
    names: { object, secret: `${object}-v1`, database, role: database },
    namespace: `${order.meshName}-templates`,
    cell: 'templates',
    footprintId: object,
    tenant: null,
    entry: { scheme: 'http' },
    epoch: 1,
    plan: findPlan('enterprise')!, // assets are built here, which takes more memory than serving them
    image: order.image,
    templateDatabase: database,
    storageClass: order.storageClass,
    replicas: 0,
  };
}

function confOf({ shard }: TemplateOrder, database: string, password: string): string {
  const plan = findPlan('enterprise')!;
  return odooConf({
    databaseHost: shard.address.host,
    databasePort: shard.address.port,
    database,
    role: database,
    password,
    adminPassword: randomBytes(24).toString('hex'),
    databasePool: plan.databasePool,
    memoryLimitBytes: plan.memoryLimitBytes,
  });
}

/** The namespace in which templates are made, and what is in it for one of them. */
class Workshop {
  constructor(
    private readonly client: KubernetesClient,
    private readonly spec: FootprintSpec,
    private readonly told: TemplateOrder['told'],
  ) {}

  async open(order: TemplateOrder, conf: string, password: string): Promise<void> {
    const { meshName, clusterNetworks, databases } = order;
    const { cell, namespace } = this.spec;
    const place = { meshName, cell, namespace, places: 10, footprintWriters: [], ingressNamespace: 'kube-system' };
    for (const manifest of cellManifests({ ...place, clusterNetworks, databases }))
      if (manifest.kind !== 'RoleBinding') await this.client.apply(manifest as KubernetesObject, fieldManager);
    await this.client.create(secretManifest(this.spec, conf, password) as KubernetesObject, fieldManager);
    await this.client.apply(volumeClaimManifest(this.spec) as KubernetesObject, fieldManager);
  }

  /** Runs it to its end. Throws with the last lines of its log when it fails. */
  async run(work: JobWork): Promise<void> {
    const begun = performance.now();
    const { namespace, names } = this.spec;
    const name = `${names.object}-${work.name}`;
    await this.client.create(jobManifest(this.spec, { ...work, name }) as KubernetesObject, fieldManager);
    const until = Date.now() + jobWithinMs;
    for (;;) {
      const job = await this.client.get<V1Job & KubernetesObject>({ kind: 'Job', name, namespace });
      if (job?.status?.succeeded) break;
      if (job?.status?.failed) throw new Error(`${name} failed: kubectl -n ${namespace} logs job/${name}`);
      if (Date.now() > until) throw new Error(`${name} did not end: kubectl -n ${namespace} describe job/${name}`);
      await pause(200);
    }
    this.told(work.name, Math.round(performance.now() - begun));
  }

  /** The folder of the volume, as a pod sees it, into a folder here. */
  async copyFiles(kubeconfig: string, from: string, to: string): Promise<void> {
    const { namespace, names } = this.spec;
    const name = `${names.object}-files`;
    const { template } = jobManifest(this.spec, {
      name,
      command: ['python3', '-c', 'import time; time.sleep(3600)'],
    }).spec!;
    const pod = { apiVersion: 'v1', kind: 'Pod', metadata: { name, namespace, labels: template.metadata!.labels! } };
    await this.client.create({ ...pod, spec: template.spec } as KubernetesObject, fieldManager);
    await this.until(`${name} to run`, async () => {
      const found = await this.client.get<V1Pod & KubernetesObject>({ kind: 'Pod', name, namespace });
      return found?.status?.phase === 'Running';
    });
    await copyFromPod(kubeconfig, { namespace, name, container: 'work' }, from, to);
  }

  /** Nothing of an earlier try is left when it resolves. */
  async clear(): Promise<void> {
    const { namespace, names } = this.spec;
    const selector = `mesh.odoo/footprint=${this.spec.footprintId}`;
    const left = async () => {
      const found: { kind: string; name: string; namespace: string; uid: string }[] = [];
      for (const kind of ['Job', 'Pod', 'PersistentVolumeClaim'])
        for (const { metadata } of await this.client.list(kind, namespace, selector))
          found.push({ kind, name: metadata!.name!, namespace, uid: metadata!.uid! });
      const secret = await this.client.get({ kind: 'Secret', name: names.secret, namespace });
      if (secret) found.push({ kind: 'Secret', name: names.secret, namespace, uid: secret.metadata!.uid! });
      return found;
    };
    await this.until('the workshop to be clear', async () => {
      const found = await left();
      for (const { uid, ...ref } of found) {
        if (ref.kind === 'PersistentVolumeClaim') await this.releaseVolume(ref);
        await this.client.delete(ref, { uid });
      }
      return found.length === 0;
    });
  }

  /** The class says Retain; what a template was made on is nobody's data. */
  private async releaseVolume(ref: { kind: string; name: string; namespace: string }): Promise<void> {
    const name = (await this.client.get<V1PersistentVolumeClaim & KubernetesObject>(ref))?.spec?.volumeName;
    if (!name) return;
    const change = { spec: { persistentVolumeReclaimPolicy: 'Delete' } };
    await this.client.merge({ kind: 'PersistentVolume', name }, change, fieldManager);
  }

  private async until(what: string, come: () => Promise<boolean>): Promise<void> {
    const end = Date.now() + 120_000;
    while (!(await come())) {
      if (Date.now() > end) throw new Error(`waited two minutes for ${what}`);
      await pause(200);
    }
  }
}
