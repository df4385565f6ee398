import { chmodSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { ClusterApi } from './cluster-api.js';
import { applyDefinitions, applySimulatedNodes, applyStorageClass } from './cluster-objects.js';
import type { LocalConfig, S3Address } from './config.js';
import { type JaegerAddress, jaegerAddress, jaegerAnswers } from './jaeger.js';
import { run } from './run.js';
import type { Component } from './rungs.js';
import { s3Address, s3Answers, s3Region, s3RootAccessKey } from './s3.js';
import type { State } from './state.js';
import { waitUntil } from './wait.js';

/** The engine's version, or why there is none. */
export async function findDocker(config: LocalConfig): Promise<{ version: string } | { missing: string }> {
  const answer = run('docker', ['info', '--format', '{{.ServerVersion}}'], { env: config.environment });
  const timeout = new Promise<never>((_, reject) => setTimeout(reject, 4_000, new Error('too slow')).unref());
  const version = await Promise.race([answer, timeout]).catch(() => '');
  if (version.trim() === '') return { missing: 'no Docker engine answers' };
  return { version: version.trim() };
}

/** The simulated nodes come after the cluster: kwok wants to know all that it watches. */
const services: Record<Component | 'nodes', readonly string[]> = {
  broker: ['rabbitmq'],
  database: ['postgres'],
  cluster: ['k3s'],
  nodes: ['kwok'],
  s3: ['s3'],
  jaeger: ['jaeger'],
};

/** One `docker compose` project per state folder, with the ports and passwords of that folder. */
export class Compose {
  constructor(
    private readonly config: LocalConfig,
    private readonly state: State,
  ) {}

  async startBroker(): Promise<{ url: string; managementUrl: string }> {
    await this.up('broker');
    const user = `admin:${this.state.secret('broker')}`;
    return {
      url: `amqp://${user}@127.0.0.1:${this.state.keptPort('broker')}`,
      managementUrl: `http://${user}@127.0.0.1:${this.state.keptPort('broker-management')}`,
    };
  }

  async startDatabase(): Promise<string> {
    await this.up('database');
    const user = `mesh_admin:${this.state.secret('database')}`;
    return `postgres://${user}@127.0.0.1:${this.state.keptPort('database')}/postgres`;
  }

  /** K3s as a control plane without an agent, and kwok beside it: the same shape as the own processes have. */
  async startCluster(kwokFolder: string, definitions: readonly string[]): Promise<string> {
    mkdirSync(this.state.path('cluster'), { recursive: true, mode: 0o700 });
    await this.up('cluster');
    const kubeconfig = this.state.path('cluster', 'kubeconfig');
    const written = this.state.path('cluster', 'k3s.yaml');
    await waitUntil('K3s wrote no kubeconfig', async () => readFileSync(written).length > 0, { withinMs: 120_000 });
    const port = this.state.keptPort('kube-apiserver');
    writeFileSync(kubeconfig, readFileSync(written, 'utf8').replace('127.0.0.1:6443', `127.0.0.1:${port}`));
    chmodSync(kubeconfig, 0o600);

    const api = await ClusterApi.open(kubeconfig);
    try {
      await waitUntil('K3s does not answer', () => api.ready(), { withinMs: 120_000 });
      await applyDefinitions(api, definitions);
      await applyStorageClass(api, kwokFolder);
      await this.up('nodes');
      await applySimulatedNodes(api, { count: this.config.nodes, tainted: false });
    } finally {
      await api.close();
    }
    return kubeconfig;
  }

  async startS3(): Promise<S3Address> {
    await this.up('s3');
    const address = s3Address(this.state);
    await waitUntil('versitygw does not answer', () => s3Answers(address), { withinMs: 60_000 });
    return address;
  }

  async startJaeger(): Promise<JaegerAddress> {
    await this.up('jaeger');
    const address = jaegerAddress(this.state);
    await waitUntil('Jaeger does not answer', () => jaegerAnswers(address), { withinMs: 60_000 });
    return address;
  }

  async stop(options: { wipe: boolean }): Promise<void> {
    await this.compose(['down', ...(options.wipe ? ['--volumes'] : [])], { finishFirst: true });
  }

  private async up(component: Component | 'nodes'): Promise<void> {
    const variables = {
      MESH_STATE: this.state.folder,
      RABBITMQ_PASSWORD: this.state.secret('broker'),
      RABBITMQ_PORT: await this.port('broker'),
      RABBITMQ_MANAGEMENT_PORT: await this.port('broker-management'),
      POSTGRES_PASSWORD: this.state.secret('database'),
      POSTGRES_PORT: await this.port('database'),
      K3S_PORT: await this.port('kube-apiserver'),
      S3_PORT: await this.port('s3'),
      S3_REGION: s3Region,
      S3_ACCESS_KEY: s3RootAccessKey,
      S3_SECRET_KEY: this.state.secret('s3'),
      JAEGER_PORT: await this.port('jaeger'),
      OTLP_PORT: await this.port('otlp'),
    };
    const lines = Object.entries(variables).map(([name, value]) => `${name}=${value}\n`);
    writeFileSync(this.state.path('compose.env'), lines.join(''), { mode: 0o600 });
    await this.compose(['up', '--detach', '--wait', ...services[component]]);
  }

  /** A port that a container of ours holds already is not free, and right. */
  private async port(name: string): Promise<number> {
    try {
      return this.state.keptPort(name);
    } catch {
      return await this.state.port(name);
    }
  }

  private async compose(args: readonly string[], how: { finishFirst?: boolean } = {}): Promise<void> {
    const project = this.state.folder
      .replace(/[^a-z0-9]+/gi, '-')
      .replace(/^-/, '')
      .toLowerCase();
    const options = ['--project-name', project, '--env-file', this.state.path('compose.env')];
    const file = join(this.config.root, 'docker-compose.yml');
    await run('docker', ['compose', ...options, '--file', file, ...args], { env: this.config.environment, ...how });
  }
}
