import { randomBytes } from 'node:crypto';
import { Pool as DatabasePool } from 'pg';
import { Agent, Pool } from 'undici';
import {
  deploymentManifest,
  type FootprintSpec,
  findPlan,
  footprintNames,
  ingressRouteManifest,
  odooConf,
  type RouteTarget,
  secretManifest,
} from '#odoo/index.js';
import type { BareTarget } from './bare-provisioner.js';

const sockets = 16;
const atOnce = 16;
const databasesAtOnce = 10;

/**
 * The reference of the bench lifecycle: the calls by which a script stops, starts and resizes what it has made, all of it
 * at once, on a good day. It imports nothing of ours but the manifests. It keeps nothing, tells nobody, looks at nothing
 * but two watches, and believes that nobody else writes what it writes.
 */
export class BareLifecycle {
  private readonly calls: Pool;
  private readonly watches: Agent;
  private readonly databases: DatabasePool;
  private readonly end = new AbortController();
  private readonly watching: Promise<void>[] = [];
  /** By the names of the Deployments. */
  private readonly whenReady = new Map<string, { readonly generation: number; readonly tell: () => void }>();
  private readonly whenGone = new Map<string, () => void>();
  /** What was seen last of each, so that a watch that is quicker than the answer to a call is not missed. */
  private readonly seen = new Map<string, Deployment>();
  private readonly pods = new Map<string, Set<string>>();

  constructor(private readonly target: BareTarget) {
    const connect = { ca: target.ca };
    this.calls = new Pool(target.apiServer, { connections: sockets, connect });
    this.watches = new Agent({ connect, bodyTimeout: 0 });
    this.databases = new DatabasePool({ connectionString: target.shardUrl, max: databasesAtOnce });
  }

  async startWatches(): Promise<void> {
    const { namespace } = this.target;
    await this.watch(`/apis/apps/v1/namespaces/${namespace}/deployments`, (_, object) => this.sawDeployment(object));
    await this.watch(`/api/v1/namespaces/${namespace}/pods`, (type, object) => this.sawPod(type, object));
  }

  /** Resolves when the last pod is gone. */
  async stop(specs: readonly FootprintSpec[]): Promise<void> {
    const gone = specs.map(({ footprintId }) => this.gone(footprintId));
    await each(specs, async (spec) => {
      await this.route(spec, 'edge');
      await this.deploy({ ...spec, replicas: 0 });
    });
    await this.all(gone);
  }

  /** Resolves when all of them are Ready and their hosts lead there. */
  async start(specs: readonly FootprintSpec[]): Promise<void> {
    const routes = new Work(atOnce);
    const ready: Promise<void>[] = [];
    await each(specs, async (spec) => {
      const { generation } = await this.deploy({ ...spec, replicas: 1 });
      ready.push(this.ready(spec.names.object, generation).then(() => routes.do(() => this.route(spec, 'instance'))));
    });
    await this.all(ready);
  }

  /** To a plan with a larger volume; resolves when all run on it. @returns what they are then. */
  async resize(specs: readonly FootprintSpec[], planName: string): Promise<FootprintSpec[]> {
    const plan = findPlan(planName)!;
    const sized = specs.map((spec) => ({
      ...spec,
      plan,
      names: { ...footprintNames(spec.meshName, spec.footprintId, 2), database: spec.names.database },
    }));
    const routes = new Work(atOnce);
    const ready: Promise<void>[] = [];
    await each(sized, async (spec) => {
      await this.databases.query(`ALTER ROLE "${spec.names.role}" CONNECTION LIMIT ${plan.databaseConnections}`);
      await this.secret(spec);
      await this.grow(spec);
      const { generation } = await this.deploy({ ...spec, replicas: 1 });
      ready.push(this.ready(spec.names.object, generation).then(() => routes.do(() => this.route(spec, 'instance'))));
    });
    await this.all(ready);
    return sized;
  }

  async close(): Promise<void> {
    this.end.abort();
    await Promise.all(this.watching);
    await Promise.all([this.calls.close(), this.watches.close(), this.databases.end()]);
  }

  private async secret(spec: FootprintSpec): Promise<void> {
    const shard = new URL(this.target.shardUrl);
    const password = randomBytes(24).toString('hex');
    const conf = odooConf({
      databaseHost: shard.hostname,
      databasePort: Number(shard.port),
      database: spec.names.database,
      role: spec.names.role,
      password,
      adminPassword: randomBytes(24).toString('hex'),
      databasePool: spec.plan.databasePool,
      memoryLimitBytes: spec.plan.memoryLimitBytes,
    });
    const manifest = secretManifest(spec, conf, password);
    await this.call('POST', `/api/v1/namespaces/${spec.namespace}/secrets?fieldManager=bare`, manifest);
  }

  private async grow(spec: FootprintSpec): Promise<void> {
    const storage = String(spec.plan.storageBytes);
    const path = `/api/v1/namespaces/${spec.namespace}/persistentvolumeclaims/${spec.names.object}`;
    const patch = { spec: { resources: { requests: { storage } } } };
    await this.call('PATCH', `${path}?fieldManager=bare`, patch, 'application/merge-patch+json');
  }

  private async deploy(spec: FootprintSpec): Promise<{ readonly generation: number }> {
    const path = `/apis/apps/v1/namespaces/${spec.namespace}/deployments/${spec.names.object}`;
    const { metadata } = await this.apply(path, deploymentManifest(spec));
    return metadata;
  }

  private async route(spec: FootprintSpec, to: RouteTarget): Promise<void> {
    const path = `/apis/traefik.io/v1alpha1/namespaces/${spec.namespace}/ingressroutes/${spec.names.object}`;
    await this.apply(path, ingressRouteManifest(spec, [spec.tenant!.host], to));
  }

  private async apply(path: string, manifest: object) {
    return await this.call('PATCH', `${path}?fieldManager=bare&force=true`, manifest, 'application/apply-patch+yaml');
  }

  private async call(
    method: 'POST' | 'PATCH',
    path: string,
    object: object,
    contentType = 'application/json',
    // biome-ignore lint/suspicious/noExplicitAny: as it comes
  ): Promise<any> {
    const { statusCode, body } = await this.calls.request({
      path,
      method,
      headers: { authorization: `Bearer ${this.target.token}`, 'content-type': contentType },
      body: JSON.stringify(object),
    });
    const text = await body.text();
    // Two that were counted by the namespace's quota at once: any client tries again.
    if (statusCode === 409 && text.includes('resourcequotas'))
      return await this.call(method, path, object, contentType);
    if (statusCode > 201) throw new Error(`${path} was answered with ${statusCode}: ${text}`);
    return JSON.parse(text);
  }

  private async all(waits: readonly Promise<void>[]): Promise<void> {
    const broken = Promise.race(this.watching).then(() => Promise.reject(new Error('a watch ended')));
    await Promise.race([Promise.all(waits), broken]);
  }

  private ready(name: string, generation: number): Promise<void> {
    return new Promise((resolve) => {
      this.whenReady.set(name, { generation, tell: resolve });
      const seen = this.seen.get(name);
      if (seen) this.sawDeployment(seen);
    });
  }

  private gone(footprintId: string): Promise<void> {
    return new Promise((resolve) => this.whenGone.set(footprintId, resolve));
  }

  private sawDeployment(deployment: Deployment): void {
    const { metadata, status = {} } = deployment;
    this.seen.set(metadata.name, deployment);
    const waiting = this.whenReady.get(metadata.name);
    if (!waiting || (status.observedGeneration ?? 0) < waiting.generation) return;
    if (status.replicas !== 1 || status.updatedReplicas !== 1 || status.readyReplicas !== 1) return;
    this.whenReady.delete(metadata.name);
    waiting.tell();
  }

  private sawPod(type: string, { metadata }: Pod): void {
    const footprintId = metadata.labels['mesh.odoo/footprint'] ?? '';
    const pods = this.pods.get(footprintId) ?? new Set();
    this.pods.set(footprintId, pods);
    if (type === 'DELETED') pods.delete(metadata.uid);
    else pods.add(metadata.uid);
    if (pods.size > 0) return;
    this.whenGone.get(footprintId)?.();
    this.whenGone.delete(footprintId);
  }

  // biome-ignore lint/suspicious/noExplicitAny: as it comes
  private async watch(path: string, tell: (type: string, object: any) => void): Promise<void> {
    const { statusCode, body } = await this.watches.request({
      origin: this.target.apiServer,
      path: `${path}?watch=true`,
      method: 'GET',
      headers: { authorization: `Bearer ${this.target.token}` },
      signal: this.end.signal,
    });
    if (statusCode !== 200) throw new Error(`the watch was answered with ${statusCode}`);
    const reading = async () => {
      let rest = '';
      for await (const chunk of body) {
        const lines = (rest + chunk.toString()).split('\n');
        rest = lines.pop() ?? '';
        for (const line of lines) {
          const { type, object } = JSON.parse(line);
          tell(type, object);
        }
      }
    };
    this.watching.push(
      reading().catch((error) => {
        if (!this.end.signal.aborted) throw error;
      }),
    );
  }
}

interface Deployment {
  readonly metadata: { readonly name: string };
  readonly status?: {
    readonly observedGeneration?: number;
    readonly replicas?: number;
    readonly updatedReplicas?: number;
    readonly readyReplicas?: number;
  };
}

interface Pod {
  readonly metadata: { readonly uid: string; readonly labels: Readonly<Record<string, string>> };
}

/** So many at a time. */
async function each<T>(all: readonly T[], work: (one: T) => Promise<void>): Promise<void> {
  let next = 0;
  const worker = async () => {
    for (let one = all[next++]; one; one = all[next++]) await work(one);
  };
  await Promise.all(Array.from({ length: atOnce }, worker));
}

/** The same for what comes bit by bit. */
class Work {
  private running = 0;
  private readonly waiting: (() => void)[] = [];

  constructor(private readonly atOnce: number) {}

  async do(work: () => Promise<void>): Promise<void> {
    if (this.running >= this.atOnce) await new Promise<void>((resolve) => this.waiting.push(resolve));
    else this.running += 1;
    try {
      await work();
    } finally {
      const next = this.waiting.shift();
      if (next) next();
      else this.running -= 1;
    }
  }
}
