import { existsSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { type BrokerAddress, startBroker, stopBroker } from './broker.js';
import { ensureCached } from './build-cache.js';
import { startCluster, stopCluster } from './cluster.js';
import { Compose, findDocker } from './compose.js';
import type { GivenAddresses, LocalConfig, S3Address } from './config.js';
import { type DatabaseOptions, startDatabase, stopDatabase } from './database.js';
import { readEnvFile, type StackEnv, writeEnvFile } from './env-file.js';
import { controlPlane, definitions, jaeger, kwok, versitygw } from './go.js';
import { type JaegerAddress, startJaeger, stopJaeger } from './jaeger.js';
import { lock } from './lock.js';
import { addresses, nodeName } from './node/addresses.js';
import { isInside, stopNamespaces, whyNoRealNode } from './node/namespaces.js';
import { nodePackages, nodeProcesses, startRealNode, stopRealNode } from './node/real-node.js';
import { storageClass } from './node/volumes.js';
import { findBroker, findDatabase, installPackages, whyNotInstallable } from './packages.js';
import { preflight } from './preflight.js';
import { type Choices, type Component, chooseRungs, components, type Rung } from './rungs.js';
import { startS3, stopS3 } from './s3.js';
import type { State } from './state.js';
import { type Progress, say, step } from './terminal.js';

export interface StackOptions {
  /** Install and build without asking. */
  readonly sure: boolean;
  /** False: no fsync, for data that nobody needs after a crash. */
  readonly durable: boolean;
  /** With Jaeger. */
  readonly traces: boolean;
  /** Prometheus is to be there too, if it can; it is not started. */
  readonly monitoring: boolean;
  /** A node whose pods run, where this machine can have one. */
  readonly realNode: boolean;
}

/** What is decided, and is on this machine, before anything starts. */
export interface Prepared {
  readonly choices: Choices;
  /** The stack has a real node: it starts from inside the namespaces of its holder. */
  readonly realNode: boolean;
  /** Of one that was asked for and cannot be had. */
  readonly whyNoRealNode?: string | undefined;
}

/** Of a stack with a real node, whose preparation was done outside. */
export function ownChoices(): Choices {
  const own = { rung: 'own', why: 'with a real node' } as const;
  return { broker: own, database: own, cluster: own, s3: own, jaeger: own };
}

/** Broker, database, cluster, S3 and, where traces are wanted, Jaeger of one state folder. */
export class Stack {
  private readonly compose: Compose;
  private readonly kwokFolder: string;

  constructor(
    private readonly config: LocalConfig,
    readonly state: State,
  ) {
    this.compose = new Compose(config, state);
    this.kwokFolder = join(config.root, 'deploy/local/kwok');
  }

  /** Says what will be used and why, and installs and builds what is missing. Throws when it may or can not. */
  async prepare(options: StackOptions): Promise<Prepared> {
    const unlock = await this.lock('preparing the stack');
    try {
      const choices = await this.choose(options);
      const whyNot = options.realNode ? this.whyNoRealNode(choices) : undefined;
      const realNode = options.realNode && whyNot === undefined;
      const plan = await preflight(this.config, choices, { ...options, realNode, whyNoRealNode: whyNot });
      if (plan.packages.length > 0)
        await step('packages', (progress) =>
          installPackages(this.config, plan.packages, progress).then(() => undefined),
        );
      for (const entry of plan.builds)
        await step(entry.name, (progress) => ensureCached(this.config.cache, entry, progress).then(() => 'built'));
      return { choices, realNode, whyNoRealNode: whyNot };
    } finally {
      unlock();
    }
  }

  /**
   * Starts what does not run and resolves when everything answers. Running it again changes nothing. When it throws,
   * what was started still runs: `stop` ends it. With a real node it has to be called inside.
   */
  async start(options: StackOptions, { choices, realNode }: Prepared): Promise<StackEnv> {
    const unlock = await this.lock('starting the stack');
    const starting: Promise<unknown>[] = [];
    try {
      this.keepRungs(choices);
      let database = '';
      let kubeconfig = '';
      // The broker takes longest and mostly waits: the others start meanwhile. So does S3.
      const broker = this.startBroker(choices.broker.rung);
      starting.push(broker.catch(() => {})); // its failure is told by its own step
      const s3 = this.startS3(choices.s3.rung, { forPods: realNode });
      starting.push(s3.catch(() => {}));
      await step('database', async () => {
        database = await this.startDatabase(choices.database.rung, { durable: options.durable, forPods: realNode });
        return hostOf(database);
      });
      await step('cluster', async (progress) => {
        kubeconfig = await this.startCluster(choices.cluster.rung, { ...options, realNode }, progress);
        return choices.cluster.rung === 'given' ? kubeconfig : `${this.config.nodes} simulated nodes`;
      });
      let routerPort = 0;
      if (realNode)
        await step('real node', async (progress) => {
          routerPort = await startRealNode(this.config, this.state, kubeconfig, progress);
          return `${nodeName}, ${addresses.node}`;
        });
      let traces: JaegerAddress | undefined;
      const { jaeger: tracing } = choices;
      if (tracing)
        await step('jaeger', async (progress) => {
          traces = await this.startJaeger(tracing.rung, progress);
          return hostOf(traces.url);
        });
      await step('s3', async () => hostOf((await s3).endpoint));
      await step('broker', async () => hostOf((await broker).url));
      const store = await s3;
      const env: StackEnv = {
        MESH_RABBITMQ_URL: (await broker).url,
        MESH_RABBITMQ_MANAGEMENT_URL: (await broker).managementUrl,
        MESH_POSTGRES_URL: database,
        MESH_KUBECONFIG: kubeconfig,
        MESH_S3_ENDPOINT: store.endpoint,
        MESH_S3_REGION: store.region,
        MESH_S3_ROOT_ACCESS_KEY: store.accessKey,
        MESH_S3_ROOT_SECRET_KEY: store.secretKey,
        MESH_STATE: this.state.folder,
        MESH_STORAGE_CLASS: realNode ? storageClass : 'mesh-local',
        MESH_NODES: realNode ? 'real' : choices.cluster.rung === 'given' ? 'own' : 'kwok',
        ...(realNode && { MESH_ROUTER_URL: `http://127.0.0.1:${routerPort}`, MESH_NODE_ADDRESS: addresses.node }),
        ...(traces && { MESH_OTLP_ENDPOINT: traces.otlpEndpoint, MESH_JAEGER_URL: traces.url }),
      };
      writeEnvFile(this.state.envFile, env);
      return env;
    } finally {
      await Promise.all(starting); // nothing starts any more when the lock is given back
      unlock();
    }
  }

  /**
   * Stops everything of this state folder, services first. Resolves to the names of what ran, when all is gone. With
   * `wipe` the data is nobody's any more: containers lose their volumes too, and no server takes its time.
   */
  async stop(options = { wipe: false }): Promise<string[]> {
    const unlock = await this.lock('stopping the stack');
    try {
      const { processes } = this.state;
      const ran = processes.names().filter((name) => processes.alive(name));
      const infrastructure = /^(broker|broker-epmd|database|etcd|jaeger|kwok|kube-.*|s3)$/;
      const services = ran.filter((name) => !infrastructure.test(name) && !nodeProcesses.includes(name));
      await Promise.all(services.map((name) => processes.stop(name)));
      if (ran.some((name) => nodeProcesses.includes(name))) await stopRealNode(this.state);
      await Promise.all([
        stopCluster(this.state),
        stopBroker(this.state, options),
        stopDatabase(this.state),
        stopS3(this.state),
        stopJaeger(this.state),
      ]);
      if (Object.values(this.keptRungs()).includes('docker')) await this.compose.stop(options);
      // From inside they are the ground we stand on: whoever entered them ends them.
      if (!isInside(this.state)) await stopNamespaces(this.state);
      rmSync(this.rungsFile, { force: true });
      rmSync(this.state.envFile, { force: true });
      return ran;
    } finally {
      unlock();
    }
  }

  private async choose({ traces }: StackOptions): Promise<Choices> {
    const kept = this.keptRungs();
    const running: Partial<Record<Component, Rung>> = {};
    for (const component of components)
      if (kept[component] === 'docker' || (kept[component] === 'own' && this.alive(component)))
        running[component] = kept[component];
    const { jaeger: tracing, ...servers } = chooseRungs({
      given: this.givenByOthers(),
      running,
      docker: await findDocker(this.config),
    });
    return traces ? { ...servers, jaeger: tracing } : servers;
  }

  private whyNoRealNode(choices: Choices): string | undefined {
    const foreign = components.find((component) => choices[component] && choices[component].rung !== 'own');
    if (foreign) return `the ${foreign} is not a process of ours`;
    if (this.alive('cluster') && readEnvFile(this.state.envFile)?.MESH_NODES !== 'real')
      return 'the cluster that runs has none';
    if (this.config.nodesWanted === 'kwok') return 'MESH_NODES=kwok is set';
    const missing = nodePackages.filter(({ file }) => !existsSync(file)).map(({ name }) => name);
    const uninstallable = missing.length > 0 ? whyNotInstallable(this.config, missing) : undefined;
    return whyNoRealNode(this.config) ?? (uninstallable && `${missing.join(' and ')} is missing, and ${uninstallable}`);
  }

  /** A shell that read our own environment file names no foreign servers. */
  private givenByOthers(): GivenAddresses {
    const { given } = this.config;
    const ours = new Set<string | undefined>(Object.values(readEnvFile(this.state.envFile) ?? {}));
    const foreign = (address: string | undefined) => (ours.has(address) ? undefined : address);
    return {
      brokerUrl: foreign(given.brokerUrl),
      brokerManagementUrl: foreign(given.brokerManagementUrl),
      databaseUrl: foreign(given.databaseUrl),
      kubeconfig: foreign(given.kubeconfig),
      s3: foreign(given.s3?.endpoint) ? given.s3 : undefined,
      otlpEndpoint: foreign(given.otlpEndpoint),
      jaegerUrl: foreign(given.jaegerUrl),
    };
  }

  private async startBroker(rung: Rung): Promise<BrokerAddress> {
    const { brokerUrl, brokerManagementUrl } = this.config.given;
    if (rung === 'given' && brokerUrl && brokerManagementUrl)
      return { url: brokerUrl, managementUrl: brokerManagementUrl };
    if (rung === 'docker') return await this.compose.startBroker();
    const tools = findBroker();
    if (!tools) throw new Error('RabbitMQ was installed, but rabbitmq-server and epmd are not where Debian puts them');
    return await startBroker(this.state, tools);
  }

  private async startDatabase(rung: Rung, options: DatabaseOptions): Promise<string> {
    if (rung === 'given' && this.config.given.databaseUrl) return this.config.given.databaseUrl;
    if (rung === 'docker') return await this.compose.startDatabase();
    const tools = findDatabase();
    if (!tools) throw new Error('PostgreSQL was installed, but its programs are not where Debian puts them');
    return await startDatabase(this.state, tools, options);
  }

  private async startCluster(rung: Rung, options: StackOptions, progress: Progress): Promise<string> {
    if (rung === 'given' && this.config.given.kubeconfig) return this.config.given.kubeconfig;
    const folder = await ensureCached(this.config.cache, definitions(this.config), progress);
    const files = readdirSync(folder).map((file) => join(folder, file));
    if (rung === 'docker') return await this.compose.startCluster(this.kwokFolder, files);
    const tools = {
      bin: await ensureCached(this.config.cache, controlPlane(this.config), progress),
      kwok: join(await ensureCached(this.config.cache, kwok(this.config), progress), 'kwok'),
      kwokFolder: this.kwokFolder,
      definitions: files,
    };
    const { durable, realNode } = options;
    return await startCluster(this.state, tools, { nodes: this.config.nodes, durable, realNode }, progress);
  }

  private async startS3(rung: Rung, options: { readonly forPods: boolean }): Promise<S3Address> {
    if (rung === 'given' && this.config.given.s3) return this.config.given.s3;
    if (rung === 'docker') return await this.compose.startS3();
    const folder = await ensureCached(this.config.cache, versitygw(this.config), () => {});
    return await startS3(this.state, join(folder, 'versitygw'), options);
  }

  private async startJaeger(rung: Rung, progress: Progress): Promise<JaegerAddress> {
    const { otlpEndpoint, jaegerUrl } = this.config.given;
    if (rung === 'given' && otlpEndpoint && jaegerUrl) return { otlpEndpoint, url: jaegerUrl };
    if (rung === 'docker') return await this.compose.startJaeger();
    const folder = await ensureCached(this.config.cache, jaeger(this.config), progress);
    const config = join(this.config.root, 'deploy/local/jaeger/config.yaml');
    return await startJaeger(this.state, join(folder, 'jaeger'), config);
  }

  private alive(component: Component): boolean {
    return this.state.processes.alive(component === 'cluster' ? 'kube-apiserver' : component);
  }

  private get rungsFile(): string {
    return this.state.path('rungs.json');
  }

  private keptRungs(): Partial<Record<Component, Rung>> {
    return existsSync(this.rungsFile) ? JSON.parse(readFileSync(this.rungsFile, 'utf8')) : {};
  }

  private keepRungs(choices: Choices): void {
    const rungs = Object.fromEntries(components.map((component) => [component, choices[component]?.rung]));
    writeFileSync(this.rungsFile, JSON.stringify(rungs));
  }

  private lock(purpose: string): Promise<() => void> {
    return lock(this.state.path('lock'), purpose, (holder) =>
      say(`Waiting for pid ${holder.pid}, which is ${holder.purpose}.`),
    );
  }
}

function hostOf(url: string): string {
  return new URL(url).host;
}
