import { Writable } from 'node:stream';
import { Exec, KubeConfig, type V1Pod, type V1Secret, type V1Status } from '@kubernetes/client-node';
import { Client } from 'pg';
import { request } from 'undici';
import type { InputOf, InstanceReady } from '#contracts/index.js';
import type { KubernetesObject } from '#kubernetes/index.js';
import { labelNames } from '#odoo/index.js';
import { waitFor } from '#testing/wait-for.js';
import { stackEnvironment } from '../e2e/config.js';
import type { TestMesh } from '../e2e/test-mesh.js';

type Pod = V1Pod & KubernetesObject;

export interface Ended {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

const listFiles = `
import hashlib, os, sys
top = '/var/lib/odoo/filestore/' + sys.argv[1]
for folder, _, names in os.walk(top):
    for name in names:
        path = os.path.join(folder, name)
        if len(name) == 40 and hashlib.sha1(open(path, 'rb').read()).hexdigest() != name:
            raise SystemExit(path + ' is not what its name says')
        print(os.path.relpath(path, top))
`;

const writeFile = `
import hashlib, os, sys
content = os.urandom(100000)
name = hashlib.sha1(content).hexdigest()
folder = '/var/lib/odoo/filestore/' + sys.argv[1] + '/' + name[:2]
os.makedirs(folder, exist_ok=True)
open(folder + '/' + name, 'wb').write(content)
print(name[:2] + '/' + name, end='')
`;

/** An instance that was seen Ready, as its customer, its pod and its database role have it. */
export class LivingInstance {
  constructor(
    private readonly mesh: TestMesh,
    readonly ready: InputOf<typeof InstanceReady>,
  ) {}

  /** Asked for in the order of the slugs, made side by side. */
  static async make(
    mesh: TestMesh,
    ...wanted: readonly { slug: string; [field: string]: unknown }[]
  ): Promise<LivingInstance[]> {
    const requests = wanted.map(({ slug, ...data }) => mesh.request(slug, data));
    for (const one of requests) await mesh.publish(one);
    return await Promise.all(
      requests.map(async ({ data }) => new LivingInstance(mesh, await mesh.ready(data.instanceId))),
    );
  }

  /** What a browser gets at its host. */
  async page(path = '/web/login') {
    return await pageAt(this.ready.host, path);
  }

  /** Pods of it that are there, those that are going away left out. */
  async pods(): Promise<Pod[]> {
    const { namespace, footprintId } = this.ready;
    const pods = await this.mesh.cluster.list<Pod>('Pod', namespace, `${labelNames.footprint}=${footprintId}`);
    return pods.filter(({ metadata }) => !metadata!.deletionTimestamp);
  }

  /** Its one pod. */
  async pod(): Promise<Pod> {
    return await waitFor(`a running pod of ${this.ready.host}`, async () => {
      const [pod, another] = await this.pods();
      return another === undefined && pod?.status?.phase === 'Running' ? pod : undefined;
    });
  }

  /** In the container that Odoo runs in, with its rights. */
  async execute(...command: readonly string[]): Promise<Ended> {
    const { metadata } = await this.pod();
    return await executeIn({ namespace: metadata!.namespace!, name: metadata!.name!, container: 'odoo' }, command);
  }

  /** Rejects as the server refuses. The connection is the tenant's own, and `work`'s for as long as that takes. */
  async asTenant<T>(database: string, work: (client: Client) => Promise<T>): Promise<T> {
    const { namespace, secret, role } = this.ready;
    const found = await this.mesh.cluster.get<V1Secret & KubernetesObject>({ kind: 'Secret', name: secret, namespace });
    const url = new URL(stackEnvironment().MESH_POSTGRES_URL);
    url.username = role;
    url.password = Buffer.from(found!.data!['database-password']!, 'base64').toString();
    url.pathname = `/${database}`;
    const client = new Client({ connectionString: url.toString() });
    client.on('error', () => {});
    await client.connect();
    try {
      return await work(client);
    } finally {
      await client.end();
    }
  }

  /** Of a folder below `filestore` in its volume, sorted, each one looked at whether it is what its name says. */
  async filesIn(folder: string): Promise<string[]> {
    const { code, stdout, stderr } = await this.execute('python3', '-c', listFiles, folder);
    if (code !== 0) throw new Error(`the files cannot be listed: ${stderr}`);
    return stdout.split('\n').filter(Boolean).sort();
  }

  /** As Odoo keeps what somebody uploads. @returns the name under which the row knows it. */
  async upload(): Promise<string> {
    const { stdout } = await this.execute('python3', '-c', writeFile, this.ready.database);
    await this.sql(`INSERT INTO ir_attachment (name, store_fname) VALUES ('uploaded', $1)`, [stdout]);
    return stdout;
  }

  /** In its database, as an administrator. */
  async sql<Row extends object = Record<string, unknown>>(sql: string, parameters: unknown[] = []): Promise<Row[]> {
    return await this.mesh.sql<Row>(sql, parameters, this.ready.database);
  }

  /** Faults of the stand-in for Odoo, by name; none: it is well again. */
  async setFaults(...faults: readonly string[]): Promise<void> {
    await this.sql(`DELETE FROM ir_config_parameter WHERE key = 'odoo_stand_in.faults'`);
    if (faults.length > 0)
      await this.sql(`INSERT INTO ir_config_parameter (key, value) VALUES ('odoo_stand_in.faults', $1)`, [
        faults.join(','),
      ]);
    await this.sql(`SELECT nextval('base_cache_signaling_default')`);
  }
}

/** What the router answers for a host, whatever its name resolves to here. */
export async function pageAt(host: string, path = '/web/login'): Promise<{ status: number; text: string }> {
  const { MESH_ROUTER_URL } = stackEnvironment();
  if (!MESH_ROUTER_URL) throw new Error('this stack has no router');
  const { statusCode, body } = await request(new URL(path, MESH_ROUTER_URL), { headers: { host } });
  return { status: statusCode, text: await body.text() };
}

/** Resolves when the command has ended, whatever its code. */
export async function executeIn(
  { namespace, name, container }: { namespace: string; name: string; container: string },
  command: readonly string[],
): Promise<Ended> {
  const config = new KubeConfig();
  config.loadFromFile(stackEnvironment().MESH_KUBECONFIG);
  const [stdout, stderr] = [new Collected(), new Collected()];
  const { promise: ended, resolve, reject } = Promise.withResolvers<V1Status>();
  const socket = await new Exec(config).exec(
    namespace,
    name,
    container,
    [...command],
    stdout,
    stderr,
    null,
    false,
    resolve,
  );
  socket.addEventListener('close', () => reject(new Error('the connection ended before the command did')));
  const { status, details, message } = await ended;
  const code = status === 'Success' ? '0' : details?.causes?.find(({ reason }) => reason === 'ExitCode')?.message;
  if (code === undefined) throw new Error(`the command did not run: ${message}`);
  return { code: Number(code), stdout: stdout.text, stderr: stderr.text };
}

class Collected extends Writable {
  text = '';

  override _write(chunk: Buffer, _encoding: string, done: () => void): void {
    this.text += chunk.toString();
    done();
  }
}
