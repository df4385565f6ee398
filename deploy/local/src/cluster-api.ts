import { readFileSync } from 'node:fs';
import type { RequestOptions } from 'node:https';
import { KubeConfig } from '@kubernetes/client-node';
import { Agent, request } from 'undici';

/** Just enough of a Kubernetes client to set a cluster up. The server's certificate is checked. */
export class ClusterApi {
  private constructor(
    private readonly server: string,
    private readonly headers: Record<string, string>,
    private readonly agent: Agent,
  ) {}

  /** Throws when the kubeconfig is not there, has no current context or skips the check of the certificate. */
  static async open(kubeconfig: string): Promise<ClusterApi> {
    const config = new KubeConfig();
    config.loadFromFile(kubeconfig);
    const cluster = config.getCurrentCluster();
    if (!cluster) throw new Error(`${kubeconfig} has no current context`);
    if (cluster.skipTLSVerify) throw new Error(`${kubeconfig} skips the check of the server's certificate`);
    const options: RequestOptions = {};
    await config.applyToHTTPSOptions(options);
    const { ca, cert, key, headers } = options;
    return new ClusterApi(
      cluster.server,
      headers as Record<string, string>,
      new Agent({ connect: { ca: ca as Buffer, cert: cert as Buffer, key: key as Buffer }, connections: 4 }),
    );
  }

  async ready(): Promise<boolean> {
    return (await this.call('GET', '/readyz')).status === 200;
  }

  /** The parsed answer. Throws on any other status than 200, naming it. */
  async get<T>(path: string): Promise<T> {
    const { status, body } = await this.call('GET', path);
    if (status !== 200) throw new Error(`GET ${path}: ${status} ${body.slice(0, 300)}`);
    return JSON.parse(body);
  }

  /** Server-side apply under the field manager `mesh-local-stack`; repeating it changes nothing. */
  async apply(path: string, object: Manifest): Promise<void> {
    const query = '?fieldManager=mesh-local-stack&force=true';
    const { status, body } = await this.call('PATCH', path + query, 'application/apply-patch+yaml', object.yaml);
    if (status !== 200 && status !== 201) throw new Error(`apply ${path}: ${status} ${body.slice(0, 300)}`);
  }

  async create(path: string, object: object): Promise<void> {
    const { status, body } = await this.call('POST', path, 'application/json', JSON.stringify(object));
    if (status !== 201) throw new Error(`create ${path}: ${status} ${body.slice(0, 300)}`);
  }

  async delete(path: string): Promise<void> {
    const { status, body } = await this.call('DELETE', path);
    if (![200, 202, 404].includes(status)) throw new Error(`delete ${path}: ${status} ${body.slice(0, 300)}`);
  }

  async close(): Promise<void> {
    await this.agent.close();
  }

  private async call(method: 'GET' | 'POST' | 'PATCH' | 'DELETE', path: string, type?: string, content?: string) {
    const response = await request(this.server + path, {
      method,
      headers: { ...this.headers, ...(type ? { 'content-type': type } : {}) },
      body: content,
      dispatcher: this.agent,
      headersTimeout: 15_000,
      bodyTimeout: 15_000,
    });
    return { status: response.statusCode, body: await response.body.text() };
  }
}

/** One object as it stands in its file; the server reads YAML, so nobody here has to. */
export interface Manifest {
  readonly name: string;
  readonly yaml: string;
}

/** The objects of a YAML file with one or more documents. */
export function readManifests(file: string): Manifest[] {
  return readFileSync(file, 'utf8')
    .split(/^---.*$/m)
    .filter((yaml) => /^kind:/m.test(yaml))
    .map((yaml) => {
      const name = /^metadata:\n(?: {2}.*\n)*? {2}name: *(\S+)/m.exec(yaml)?.[1];
      if (!name) throw new Error(`${file} holds an object without a name`);
      return { name, yaml };
    });
}
