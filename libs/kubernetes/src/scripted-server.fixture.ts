import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createServer, type IncomingHttpHeaders, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

export interface SeenRequest {
  readonly method: string;
  readonly path: string;
  readonly query: URLSearchParams;
  readonly headers: IncomingHttpHeaders;
  readonly body: string;
  readonly raw: IncomingMessage;
}

export interface ScriptedServer {
  readonly url: string;
  readonly requests: SeenRequest[];
  /** TCP connections accepted so far. */
  readonly connections: number;
  /** A kubeconfig with a token for this server, or with what is given; kept until `close`. */
  kubeconfig(text?: string): string;
  close(): Promise<void>;
}

/** An HTTP server that answers as a spec says: for what a healthy API server cannot be made to do. */
export async function startServer(
  answer: (request: SeenRequest, response: ServerResponse) => void,
): Promise<ScriptedServer> {
  const requests: SeenRequest[] = [];
  let connections = 0;
  const server = createServer(async (raw, response) => {
    let body = '';
    for await (const chunk of raw.setEncoding('utf8')) body += chunk;
    const { pathname, searchParams } = new URL(raw.url!, 'http://server');
    const request = { method: raw.method!, path: pathname, query: searchParams, headers: raw.headers, body, raw };
    requests.push(request);
    answer(request, response);
  });
  server.on('connection', () => {
    connections += 1;
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  const folder = mkdtempSync(join(tmpdir(), 'mesh-kubeconfig-'));
  let files = 0;
  return {
    url,
    requests,
    get connections() {
      return connections;
    },
    kubeconfig(text = kubeconfigOf({ server: url }, { token: 't0ken' })) {
      const file = join(folder, `config-${files++}`);
      writeFileSync(file, text);
      return file;
    },
    async close() {
      rmSync(folder, { recursive: true });
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}

export function kubeconfigOf(cluster: object, user: object): string {
  return JSON.stringify({
    apiVersion: 'v1',
    kind: 'Config',
    'current-context': 'c',
    clusters: [{ name: 'c', cluster }],
    users: [{ name: 'u', user }],
    contexts: [{ name: 'c', context: { cluster: 'c', user: 'u' } }],
  });
}

export function json(response: ServerResponse, status: number, value: unknown, headers: Record<string, string> = {}) {
  response.writeHead(status, { 'content-type': 'application/json', ...headers }).end(JSON.stringify(value));
}

/** What the API server says when it refuses. */
export function status(code: number, reason: string, message: string, details?: object) {
  return { kind: 'Status', apiVersion: 'v1', status: 'Failure', message, reason, code, ...(details && { details }) };
}
