import { execFile } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import {
  constants,
  createSecureServer,
  type Http2SecureServer,
  type Http2ServerRequest,
  type Http2ServerResponse,
} from 'node:http2';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as after } from 'node:timers/promises';
import type { TLSSocket } from 'node:tls';
import { promisify } from 'node:util';
import { Pool } from 'undici';
import { TcpProxy } from './tcp-proxy.js';

export interface ProxiedRequest {
  readonly method: string;
  readonly path: string;
  readonly query: URLSearchParams;
}

export type HttpFault =
  /** The proxy answers; the server never hears of the request. */
  | { readonly status: number; readonly headers?: Record<string, string>; readonly body?: string }
  /** The request waits before it goes on. */
  | { readonly slowMs: number }
  /** The server does what it was asked for, and half of its answer arrives before the connection breaks. */
  | 'cut-answer';

interface Rule {
  left: number;
  readonly matches: (request: ProxiedRequest) => boolean;
  readonly fault: HttpFault;
}

/**
 * Stands on the loopback before a Kubernetes API server, with a certificate of its own, and speaks HTTP/2 and HTTP/1.1
 * as that does. Requests go on as they came, with the caller's token. It answers in the server's place when it is told
 * to; what happens to connections (cut, refused, half-open) is done by `tcp`, through which all of them come.
 */
export class HttpFaultProxy {
  private readonly server: Http2SecureServer;
  private readonly upstream: Pool;
  private readonly rules: Rule[] = [];
  private readonly watches = new Set<Watch>();
  /** By the port from which `tcp` came. */
  private readonly connections = new Map<number, TLSSocket>();

  private constructor(
    target: { readonly origin: string; readonly ca: string },
    /** PEM. */
    readonly certificate: string,
    key: string,
  ) {
    this.upstream = new Pool(target.origin, {
      connect: { ca: target.ca },
      allowH2: false,
      connections: null,
      headersTimeout: 0,
      bodyTimeout: 0,
    });
    this.server = createSecureServer({ cert: certificate, key, allowHTTP1: true }, (request, response) => {
      this.serve(request, response).catch(() => cut(response));
    });
    this.server.on('sessionError', () => {});
    this.server.on('secureConnection', (socket) => {
      const { remotePort: port } = socket;
      // It was reset meanwhile.
      if (port === undefined) return void socket.destroy();
      this.connections.set(port, socket);
      socket.once('close', () => this.connections.delete(port));
    });
  }

  /** Set by `before`. */
  tcp!: TcpProxy;
  /** Sees each request before it goes on. */
  onRequest: (request: ProxiedRequest) => void = () => {};
  /** Sees that the server has done what it was asked for, before the caller hears of it. */
  onAnswer: (request: ProxiedRequest) => void = () => {};

  /** @param target the server's `https://host:port` and the PEM of who signed its certificate. */
  static async before(target: { readonly origin: string; readonly ca: string }): Promise<HttpFaultProxy> {
    const folder = mkdtempSync(join(tmpdir(), 'mesh-fault-proxy-'));
    try {
      const [key, cert] = [join(folder, 'key.pem'), join(folder, 'cert.pem')];
      await promisify(execFile)('openssl', [
        ...['req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes', '-days', '1'],
        ...['-subj', '/CN=fault-proxy', '-addext', 'subjectAltName=IP:127.0.0.1', '-keyout', key, '-out', cert],
      ]);
      const proxy = new HttpFaultProxy(target, readFileSync(cert, 'utf8'), readFileSync(key, 'utf8'));
      await once(proxy.server.listen(0, '127.0.0.1'), 'listening');
      proxy.tcp = await TcpProxy.before(`https://127.0.0.1:${(proxy.server.address() as AddressInfo).port}`);
      // Node does not notice that a connection was reset, and keeps its streams, while much waits to be written to it.
      proxy.tcp.onEnd = (port) => proxy.connections.get(port)?.destroy();
      return proxy;
    } finally {
      rmSync(folder, { recursive: true });
    }
  }

  get url(): string {
    return `https://127.0.0.1:${this.tcp.port}`;
  }

  /** Of the next `times` requests that match. Of several rules the one that was given first is taken. */
  fail(times: number, matches: Rule['matches'], fault: HttpFault): void {
    this.rules.push({ left: times, matches, fault });
  }

  /** How many faults were asked for that no request has met yet. */
  get faultsLeft(): number {
    return this.rules.reduce((sum, { left }) => sum + left, 0);
  }

  /** Those that have a caller: one whose stream or connection was ended counts no more, whatever still waits in it. */
  get openWatches(): number {
    return [...this.watches].filter((watch) => watch.hasCaller).length;
  }

  /** Resets all connections, and with them ends the watches: those that are open afterwards are new. */
  cut(): void {
    this.tcp.cut();
    for (const watch of this.watches) watch.leave();
    this.watches.clear();
  }

  /** Every watch that is open ends with the event that its place in the history is gone. */
  expireWatches(): void {
    for (const watch of this.watches) watch.expire();
  }

  async close(): Promise<void> {
    await this.tcp.close();
    this.server.close();
    await this.upstream.destroy();
  }

  private async serve(request: Http2ServerRequest, response: Http2ServerResponse): Promise<void> {
    const gone = new AbortController();
    response.once('close', () => gone.abort());
    // A stream that its caller ends in peace (NO_ERROR) while its window is full is closed only when all was written,
    // which will never be.
    response.stream?.once('aborted', () => gone.abort());
    const { pathname: path, searchParams: query } = new URL(request.url, this.url);
    const proxied: ProxiedRequest = { method: request.method, path, query };
    this.onRequest(proxied);
    const rule = this.rules.find(({ left, matches }) => left > 0 && matches(proxied));
    if (rule) rule.left -= 1;
    const fault = rule?.fault;
    if (typeof fault === 'object' && 'status' in fault) {
      request.resume();
      response.writeHead(fault.status, { 'content-type': 'application/json', ...fault.headers }).end(fault.body ?? '');
      return;
    }
    if (typeof fault === 'object') await after(fault.slowMs);
    const { statusCode, headers, body } = await this.upstream.request({
      method: request.method as 'GET',
      path: request.url,
      headers: endToEnd(request.headers),
      body: request.method === 'GET' ? null : request,
      signal: gone.signal,
    });
    this.onAnswer(proxied);
    if (fault === 'cut-answer') {
      const answer = Buffer.from(await body.arrayBuffer());
      response.writeHead(statusCode, endToEnd(headers));
      response.write(answer.subarray(0, answer.length / 2), () => cut(response));
      return;
    }
    response.writeHead(statusCode, endToEnd(headers));
    const watch = query.get('watch') === 'true' ? new Watch(response, gone) : undefined;
    if (watch) this.watches.add(watch);
    try {
      // Over HTTP/1.1 they would wait for the first event.
      if (watch) (response as { flushHeaders?(): void }).flushHeaders?.();
      for await (const chunk of body as AsyncIterable<Buffer>) {
        if (watch?.expired) return;
        // A stream that is closed is never drained.
        if (!response.write(chunk)) await once(response, 'drain', { signal: gone.signal });
        watch?.wrote(chunk);
      }
      response.end();
    } finally {
      if (watch) this.watches.delete(watch);
    }
  }
}

/** An open watch, whose last event may have arrived by half. */
class Watch {
  expired = false;
  private expiring = false;
  private betweenEvents = true;

  constructor(
    private readonly response: Http2ServerResponse,
    private readonly gone: AbortController,
  ) {}

  get hasCaller(): boolean {
    return !this.expired && !this.gone.signal.aborted;
  }

  /** Ends it at the server. */
  leave(): void {
    this.gone.abort();
  }

  wrote(chunk: Buffer): void {
    this.betweenEvents = chunk.at(-1) === 0x0a;
    if (this.expiring) this.expire();
  }

  expire(): void {
    this.expiring = true;
    if (!this.betweenEvents || this.expired) return;
    this.expired = true;
    const object = {
      kind: 'Status',
      status: 'Failure',
      code: 410,
      reason: 'Expired',
      message: 'too old resource version',
    };
    this.response.end(`${JSON.stringify({ type: 'ERROR', object })}\n`);
  }
}

/** The caller's connection or, of several on one, its stream breaks. */
function cut(response: Http2ServerResponse): void {
  if (!response.stream) response.socket.destroy();
  // What waits in it goes nowhere any more.
  else if (response.stream.closed) response.stream.destroy();
  else response.stream.close(constants.NGHTTP2_INTERNAL_ERROR);
}

const ofOneConnection = new Set(['connection', 'keep-alive', 'transfer-encoding', 'upgrade', 'host', 'http2-settings']);

function endToEnd(headers: NodeJS.Dict<string | string[]>): Record<string, string | string[]> {
  const kept = Object.entries(headers).filter(([name]) => !name.startsWith(':') && !ofOneConnection.has(name));
  return Object.fromEntries(kept) as Record<string, string | string[]>;
}
