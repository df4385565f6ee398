import { randomBytes } from 'node:crypto';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { KubeConfig } from '@kubernetes/client-node';
import { KubernetesClient, type KubernetesClientOptions } from './client.js';
import { readConnection } from './connection.js';
import { type ObjectRef, objectPath } from './resources.js';

/** What a mesh spec makes on the shared API server: a name nobody else has, clients, and the removal of all of it. */
export class TestCluster {
  readonly name = `kt${randomBytes(4).toString('hex')}`;
  readonly admin: KubernetesClient;
  private readonly clients: KubernetesClient[] = [];
  private readonly folder = mkdtempSync(join(tmpdir(), 'mesh-kubeconfig-'));
  private readonly made: ObjectRef[] = [];
  private files = 0;

  constructor(private readonly kubeconfig: string) {
    this.admin = this.client();
  }

  /** The administrator's, unless told otherwise. */
  client(options: Partial<KubernetesClientOptions> = {}): KubernetesClient {
    const client = new KubernetesClient({ kubeconfig: this.kubeconfig, ...options });
    this.clients.push(client);
    return client;
  }

  /** Removed at the end, with all that is in it. */
  async namespace(name = this.name): Promise<string> {
    this.removeLater({ kind: 'Namespace', name });
    await this.admin.apply({ apiVersion: 'v1', kind: 'Namespace', metadata: { name } }, 'test');
    return name;
  }

  removeLater(ref: ObjectRef): void {
    objectPath(ref);
    this.made.push(ref);
  }

  /** A kubeconfig of the same cluster for another user, or by another way to the server. */
  kubeconfigFor({ token, server, ca }: { token?: string; server?: string; ca?: string }): string {
    const config = new KubeConfig();
    config.loadFromFile(this.kubeconfig);
    const other = new KubeConfig();
    other.loadFromClusterAndUser(
      {
        ...config.getCurrentCluster()!,
        ...(server && { server }),
        ...(ca && { caData: Buffer.from(ca).toString('base64') }),
      },
      token ? { name: 'other', token } : config.getCurrentUser()!,
    );
    const file = join(this.folder, `config-${this.files++}`);
    writeFileSync(file, other.exportConfig(), { mode: 0o600 });
    return file;
  }

  async tokenOf(name: string, namespace: string): Promise<string> {
    const account = { kind: 'ServiceAccount', name, namespace };
    await this.admin.apply({ apiVersion: 'v1', kind: 'ServiceAccount', metadata: { name, namespace } }, 'test');
    const request = {
      apiVersion: 'authentication.k8s.io/v1',
      kind: 'TokenRequest',
      spec: { expirationSeconds: 600 },
    };
    const { status } = await this.admin.post<{ status: { token: string } }>(account, 'token', request);
    return status.token;
  }

  /** For what stands before the server. */
  get serverAddress(): { readonly origin: string; readonly ca: string } {
    const { origin, tls } = readConnection(this.kubeconfig);
    return { origin, ca: tls.ca! };
  }

  get serverUrl(): URL {
    return new URL(this.admin.server.url);
  }

  async remove(): Promise<void> {
    for (const ref of this.made) {
      const object = await this.admin.get(ref);
      if (object) await this.admin.delete(ref, { uid: object.metadata!.uid! });
    }
    await this.leave();
  }

  /** Leaves what was made to whoever throws the cluster away. */
  async leave(): Promise<void> {
    await Promise.all(this.clients.map((client) => client.close()));
    rmSync(this.folder, { recursive: true });
  }
}
