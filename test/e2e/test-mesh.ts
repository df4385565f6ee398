import { execFile } from 'node:child_process';
import { createHash, randomBytes } from 'node:crypto';
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { promisify } from 'node:util';
import { type Channel, type ChannelModel, connect } from 'amqplib';
import { Client } from 'pg';
import { newId, registry, type Service, services as servicesOfTheMesh } from '#contracts/index.js';
import { KubernetesClient } from '#kubernetes/index.js';
import {
  type InstalledMesh,
  installMesh,
  type MeshPlan,
  type Program,
  programs,
  uninstallMesh,
} from '#local/mesh-install.js';
import { MeshServices, portNames } from '#local/mesh-services.js';
import { State } from '#local/state.js';
import { uninstallBroker } from '#messaging/index.js';
import { waitFor } from '#testing/wait-for.js';
import { stackEnvironment } from './config.js';

export interface Heard {
  readonly key: string;
  readonly publisher: string;
  readonly envelope: {
    id: string;
    causationid?: string;
    subject?: string;
    sequence?: number;
    traceparent?: string;
    data: Said;
  };
}

/** Any message's data, as a stranger reads it: by the names of its fields. */
// biome-ignore lint/suspicious/noExplicitAny: that is what being a stranger means
type Said = any;
type Answered = Said;

export interface TestMeshOptions {
  readonly makeTemplates?: MeshPlan['makeTemplates'];
  readonly spares?: string;
  readonly placesPerCell?: number;
  readonly maxCells?: number;
  readonly retryLevels?: string;
  readonly askAgain?: string;
  readonly jobLease?: string;
  readonly provisioningDeadline?: string;
  readonly lifecycle?: MeshPlan['lifecycle'];
  readonly backup?: MeshPlan['backup'];
  readonly domain?: string;
  readonly entry?: MeshPlan['entry'];
  readonly callsPerMinute?: number;
  /** Those that start at once; by default all but backup, in whose name the test then speaks: `programs` are all. */
  readonly start?: readonly Program[];
  /** Its spans go to the stack's Jaeger. */
  readonly traced?: boolean;
  /** Whether it is said in the backup service's name that no snapshot is left for a purge; by default where it does not run. */
  readonly snapshotsAnswered?: boolean;
}

export const withoutBackup: readonly Program[] = programs.filter((one) => one !== 'backup');

const root = resolve(import.meta.dirname, '../..');

/**
 * A mesh of its own on the stack of this test run: own names everywhere, real processes, and eyes: everything said on
 * the exchange, the databases and the cluster as an administrator sees them.
 */
export class TestMesh {
  readonly heard: Heard[] = [];
  private second: MeshServices | undefined;

  private constructor(
    readonly name: string,
    readonly installed: InstalledMesh,
    readonly services: MeshServices,
    readonly cluster: KubernetesClient,
    private broker: ChannelModel,
    private readonly folder: string,
    private readonly state: State,
    private readonly snapshotsAnswered: boolean,
  ) {}

  static async start({
    start = withoutBackup,
    traced = false,
    snapshotsAnswered = !(start as readonly string[]).includes('backup'),
    backup = {},
    ...options
  }: TestMeshOptions = {}): Promise<TestMesh> {
    const { MESH_OTLP_ENDPOINT, ...untraced } = stackEnvironment();
    const stack = { ...untraced, ...(traced && MESH_OTLP_ENDPOINT && { MESH_OTLP_ENDPOINT }) };
    const name = `t${randomBytes(3).toString('hex')}`;
    const folder = mkdtempSync('/tmp/mesh-');
    const state = new State(folder);
    const seed = randomBytes(16).toString('hex');
    const ports = Object.fromEntries(await Promise.all(portNames.map(async (port) => [port, await state.port(port)])));
    const installed = await installMesh({
      // The same at each installation: one that is repeated changes nothing.
      secret: (of) => createHash('sha256').update(`${seed} ${of}`).digest('hex'),
      name,
      stack,
      root,
      folder: join(folder, 'mesh'),
      pagesPort: ports.pages,
      retryLevels: '100ms,300ms,1s,2s,3s,4s',
      // Nothing begins by itself in the middle of a test.
      backup: { MESH_BACKUP_SCHEDULES: 'off', ...backup },
      ...options,
    });
    const services = new MeshServices(installed, state.processes, root, ports, false);
    const broker = await connectAsAdministrator(name);
    const cluster = new KubernetesClient({ kubeconfig: stack.MESH_KUBECONFIG });
    const mesh = new TestMesh(name, installed, services, cluster, broker, folder, state, snapshotsAnswered);
    await mesh.listen();
    await services.startAll(start);
    return mesh;
  }

  /** All the broker's queues, exchanges and rights of this mesh are gone, with the messages in them. */
  async loseBroker(): Promise<void> {
    const { MESH_RABBITMQ_MANAGEMENT_URL } = stackEnvironment();
    const users = [...servicesOfTheMesh, 'signup'].map((service) => `${this.name}-${service}`);
    await uninstallBroker(MESH_RABBITMQ_MANAGEMENT_URL, this.name, users);
  }

  /** What an operator does then. */
  async installAgain(): Promise<void> {
    await installMesh(this.installed.plan);
    this.broker = await connectAsAdministrator(this.name);
    await this.listen();
  }

  /** The services once more, on the same queues and tables. */
  async startReplica(services: readonly Program[] = programs): Promise<MeshServices> {
    const ports = Object.fromEntries(
      await Promise.all(portNames.map(async (port) => [port, await this.state.port(`${port}-2`)])),
    );
    this.second = this.services.replica(ports);
    await this.second.startAll(services);
    return this.second;
  }

  async stop(): Promise<void> {
    await Promise.all([this.services.stopAll(), this.second?.stopAll()]);
    await this.broker.close().catch(() => {});
    await uninstallMesh(this.installed);
    await this.cluster.close();
    rmSync(this.folder, { recursive: true });
  }

  /** A request as the contract's example has it, with what the test changes. */
  request(slug: string, data: Record<string, unknown> = {}, envelope: Record<string, unknown> = {}) {
    return {
      specversion: '1.0',
      id: newId(),
      source: 'signup',
      type: 'mesh.instance.requested.v1',
      time: new Date().toISOString(),
      datacontenttype: 'application/json',
      ...envelope,
      data: {
        instanceId: newId(),
        slug,
        customerId: 'c-1042',
        plan: 'business',
        odooVersion: '18.0',
        bundle: 'apps',
        company: 'ACME Ltd',
        adminLogin: 'owner@acme.example',
        ...data,
      },
    };
  }

  /** Lifecycle's word that an instance may be destroyed, as its service will publish it under its own broker user. */
  purgeApproval(ready: Said, change: Record<string, unknown> = {}) {
    const { instanceId, footprintId, cell, databaseShard, database } = ready;
    return {
      specversion: '1.0',
      id: newId(),
      source: 'lifecycle',
      type: 'mesh.instance.purge-approved.v1',
      subject: instanceId,
      sequence: Date.now(),
      data: {
        instanceId,
        footprintId,
        cell,
        databaseShard,
        database,
        backupId: newId(),
        approvalId: newId(),
        expiresAt: new Date(Date.now() + 60_000).toISOString(),
        ...change,
      },
    };
  }

  /** The backup service's word that a volume can go, as its service will publish it. */
  async sayThatSnapshotsAreGone({ instanceId, footprintId, approvalId }: Said): Promise<void> {
    const key = 'backup.snapshots-removed.v1';
    const data = { instanceId, footprintId, approvalId };
    const fact = { specversion: '1.0', id: newId(), source: 'backup', type: `mesh.${key}` };
    await this.publish({ ...fact, subject: instanceId, sequence: Date.now(), data }, { key, as: 'backup' });
  }

  /** What lifecycle asks of another service, as its service will publish it under its own broker user. */
  lifecycleRequest(key: string, data: Record<string, unknown>) {
    const time = new Date().toISOString();
    return { specversion: '1.0', id: newId(), source: 'lifecycle', type: `mesh.${key}`, time, data };
  }

  /** Lifecycle's word on an instance, as its service will publish it. `change` is of the data, but for the sequence. */
  stateChange(ready: Said, state: string, reason: string, { sequence = Date.now(), ...change }: Said = {}) {
    const { instanceId, footprintId, plan, template, database, secret, volumeClaim, host } = ready;
    return {
      specversion: '1.0',
      id: newId(),
      source: 'lifecycle',
      type: 'mesh.instance.state-changed.v1',
      subject: instanceId,
      sequence,
      data: {
        ...{ instanceId, footprintId, plan, image: template.image, database, secret, volumeClaim, host },
        ...{ state, reason, desired: state, since: new Date().toISOString() },
        ...change,
      },
    };
  }

  /** Plain AMQP as a broker user of the mesh, by default the foreign service `signup`. Rejects when the broker refuses. */
  async publish(
    message: object | string | Buffer,
    { key = 'instance.requested.v1', as = 'signup' }: { key?: string; as?: Service | 'signup' } = {},
  ): Promise<void> {
    const connection = await connect(this.installed.amqpUrl(as));
    try {
      const channel = await connection.createConfirmChannel();
      const refused = new Promise<never>((_, reject) => channel.once('error', reject));
      const body = Buffer.isBuffer(message) ? message : typeof message === 'string' ? message : JSON.stringify(message);
      channel.publish('mesh.events', key, Buffer.from(body), {
        persistent: true,
        contentType: 'application/cloudevents+json',
        ...(as !== 'signup' && { userId: `${this.name}-${as}` }),
      });
      await Promise.race([channel.waitForConfirms(), refused]);
    } finally {
      await connection.close();
    }
  }

  /** A channel of an administrator, until the mesh is stopped. */
  async asAdministrator(): Promise<Channel> {
    return await this.broker.createChannel();
  }

  /** By one who may say everything, and is nobody's service. */
  async publishAsAdministrator(message: object | string, key: string): Promise<void> {
    const channel = await this.broker.createConfirmChannel();
    const body = typeof message === 'string' ? message : JSON.stringify(message);
    channel.publish('mesh.events', key, Buffer.from(body), { persistent: true });
    await channel.waitForConfirms();
    await channel.close();
  }

  /** The same by somebody who has never seen our code: Python with pika. */
  async publishByPython(message: object, key = 'instance.requested.v1'): Promise<void> {
    const python = stackEnvironment().MESH_PYTHON;
    if (!python) throw new Error('MESH_PYTHON names no Python with pika; npm test sets it');
    const running = promisify(execFile)(python, [
      join(root, 'test/fixtures/publish.py'),
      this.installed.amqpUrl('signup'),
      key,
    ]);
    running.child.stdin?.end(JSON.stringify(message));
    await running;
  }

  /** Resolves when nothing is left of the instance. */
  async purge(ready: Said): Promise<void> {
    await this.publish(this.purgeApproval(ready), { key: 'instance.purge-approved.v1', as: 'lifecycle' });
    const terminated = () => this.said('instance.terminated.v1', ready.instanceId)[0];
    await this.explained(waitFor('the end', terminated, { timeoutMs: 60_000 }));
  }

  /** All of one kind that were said about an instance. */
  said(key: string, instanceId: string): Heard[] {
    return this.heard.filter((one) => one.key === key && one.envelope.data.instanceId === instanceId);
  }

  async ready(instanceId: string, timeoutMs = 60_000) {
    const fact = await this.explained(
      waitFor(`instance ${instanceId} to be ready`, () => this.said('instance.ready.v1', instanceId)[0], { timeoutMs }),
    );
    return fact.envelope.data;
  }

  async refused(requestId: string) {
    const found = await this.explained(
      waitFor(`request ${requestId} to be refused`, () =>
        this.heard.find((one) => one.key === 'instance.refused.v1' && one.envelope.data.requestId === requestId),
      ),
    );
    return found.envelope.data;
  }

  /** When a wait ends in vain: what was parked, and what the services complained about. */
  async explained<T>(waiting: Promise<T>): Promise<T> {
    try {
      return await waiting;
    } catch (error) {
      const parked = await this.sql('SELECT queue, type, reason, error FROM api_gateway.parked_message ORDER BY id');
      const started = programs.filter((service) => existsSync(this.services.logFile(service)));
      const complaints = started.flatMap((service) =>
        readFileSync(this.services.logFile(service), 'utf8')
          .split('\n')
          .filter((line) => /"level":"(warn|error)"/.test(line))
          .slice(-5)
          .map((line) => line.slice(0, 400)),
      );
      throw new Error(
        `${(error as Error).message}\nparked: ${JSON.stringify(parked)}\nthe services said:\n${complaints.join('\n')}`,
      );
    }
  }

  /** As an administrator; `database` defaults to the mesh's own. */
  async sql<Row extends object = Record<string, unknown>>(
    sql: string,
    parameters: unknown[] = [],
    database?: string,
  ): Promise<Row[]> {
    const url = new URL(this.installed.meshDatabaseUrl);
    if (database) url.pathname = `/${database}`;
    const client = new Client({ connectionString: url.toString() });
    await client.connect();
    try {
      return (await client.query(sql, parameters)).rows as Row[];
    } finally {
      await client.end();
    }
  }

  /** @param init.body sent as JSON; a string goes as it is. */
  async api(
    path: string,
    init: { method?: string; body?: unknown; key?: string; headers?: Record<string, string> } = {},
  ): Promise<{ status: number; type: string | null; headers: Headers; body: Answered }> {
    const { method = 'GET', body, key = this.installed.apiKey, headers } = init;
    const response = await fetch(`${this.services.url('api-gateway')}${path}`, {
      method,
      headers: {
        authorization: `Bearer ${key}`,
        ...(body !== undefined && { 'content-type': 'application/json' }),
        ...headers,
      },
      ...(body !== undefined && { body: typeof body === 'string' ? body : JSON.stringify(body) }),
    });
    const text = await response.text();
    return {
      status: response.status,
      type: response.headers.get('content-type'),
      headers: response.headers,
      body: text === '' ? undefined : JSON.parse(text),
    };
  }

  private async listen(): Promise<void> {
    const channel = await this.broker.createChannel();
    const { queue } = await channel.assertQueue('', { exclusive: true });
    // Facts by name: a queue bound to everything would hide what nobody binds.
    for (const { kind, key } of registry) if (kind === 'fact') await channel.bindQueue(queue, 'mesh.events', key);
    await channel.consume(
      queue,
      (message) => {
        if (!message) return;
        let envelope: Heard['envelope'];
        try {
          envelope = JSON.parse(message.content.toString());
        } catch {
          return; // a broken one, said on purpose
        }
        const { routingKey: key } = message.fields;
        const { userId: publisher } = message.properties;
        this.heard.push({ key, publisher, envelope });
        const approved = key === 'instance.purge-approved.v1' && publisher === `${this.name}-lifecycle`;
        // Who waits for the end of that instance says it when this was in vain.
        if (approved && this.snapshotsAnswered) this.sayThatSnapshotsAreGone(envelope.data).catch(() => {});
      },
      { noAck: true },
    );
  }
}

async function connectAsAdministrator(vhost: string): Promise<ChannelModel> {
  const url = new URL(stackEnvironment().MESH_RABBITMQ_URL);
  url.pathname = `/${vhost}`;
  const connection = await connect(url.toString());
  connection.on('error', () => {});
  return connection;
}
