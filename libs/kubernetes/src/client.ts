import { readFileSync } from 'node:fs';
import { setTimeout as pause } from 'node:timers/promises';
import { KubeConfig } from '@kubernetes/client-node';
import { type Dispatcher, Pool } from 'undici';
import { type CallFailure, errorOf, NotFound, TooManyRequests, Unreachable } from './errors.js';
import { collectionPath, describeRef, type KubernetesObject, type ObjectRef, objectPath, refOf } from './resources.js';

export interface KubernetesClientOptions {
  readonly kubeconfig: string;
  /** Calls under way at once; each watch has a connection of its own beside them. */
  readonly connections?: number;
  readonly timeoutMs?: number;
  readonly onCall?: (call: { verb: string; kind: string; status: number; seconds: number }) => void;
}

type Method = 'GET' | 'POST' | 'PATCH' | 'DELETE';

interface Call {
  readonly verb: string;
  readonly method: Method;
  readonly path: string;
  readonly ref: ObjectRef;
  readonly body?: unknown;
  readonly contentType?: string;
  readonly signal?: AbortSignal | undefined;
}

/** How often a 429 is waited out before the caller hears of it. */
const patience = 8;
const readRetries = 2;

/**
 * Calls to one API server over one pool of kept connections. (The stock client opens a TLS connection for each call,
 * which costs four times the CPU; client-node is here for its types and for reading the kubeconfig.)
 *
 * Every call has a time limit and ends in a result or a typed error. 429 is flow control and waited out. Reads are
 * repeated when the connection breaks; a change is not, because nobody knows whether it was made: the reconciler looks.
 */
export class KubernetesClient {
  private readonly calls: Pool;
  private readonly watches: Pool;
  private readonly headers: Record<string, string>;

  constructor(private readonly options: KubernetesClientOptions) {
    const config = new KubeConfig();
    config.loadFromFile(options.kubeconfig);
    const cluster = config.getCurrentCluster();
    const user = config.getCurrentUser();
    if (!cluster || !user) throw new Error(`${options.kubeconfig} has no current context`);
    if (cluster.skipTLSVerify) throw new Error(`${options.kubeconfig} skips the check of the server's certificate`);
    const pem = (data: string | undefined, file: string | undefined) =>
      data ? Buffer.from(data, 'base64').toString() : file ? readFileSync(file, 'utf8') : undefined;
    const tls = {
      ca: pem(cluster.caData, cluster.caFile),
      cert: pem(user.certData, user.certFile),
      key: pem(user.keyData, user.keyFile),
    };
    const connect = { ...Object.fromEntries(Object.entries(tls).filter(([, value]) => value)), timeout: 5_000 };
    const origin = new URL(cluster.server).origin;
    this.headers = { accept: 'application/json', ...(user.token && { authorization: `Bearer ${user.token}` }) };
    this.calls = new Pool(origin, { connections: options.connections ?? 16, pipelining: 1, connect });
    this.watches = new Pool(origin, { connections: null, pipelining: 1, connect });
  }

  /** Undefined only when the server says that there is no such object. */
  async get<T extends KubernetesObject>(ref: ObjectRef, signal?: AbortSignal): Promise<T | undefined> {
    try {
      return await this.call<T>({ verb: 'get', method: 'GET', path: objectPath(ref), ref, signal });
    } catch (error) {
      if (error instanceof NotFound) return undefined;
      throw error;
    }
  }

  /**
   * Server-side apply: afterwards the object has what `object` says, and the rest is as others made it. With a
   * resourceVersion in it the call ends in Conflict when the object has changed since.
   * @returns the object as it is now.
   */
  async apply<T extends KubernetesObject>(object: T, fieldManager: string): Promise<T> {
    const ref = refOf(object);
    const path = `${objectPath(ref)}?fieldManager=${encodeURIComponent(fieldManager)}&force=true`;
    return await this.call<T>({
      verb: 'apply',
      method: 'PATCH',
      path,
      ref,
      body: object,
      contentType: 'application/apply-patch+yaml',
    });
  }

  /** Throws AlreadyExists. */
  async create<T extends KubernetesObject>(object: T, fieldManager: string): Promise<T> {
    const ref = refOf(object);
    const path = `${collectionPath(ref.kind, ref.namespace)}?fieldManager=${encodeURIComponent(fieldManager)}`;
    return await this.call<T>({ verb: 'create', method: 'POST', path, ref, body: object });
  }

  /** A merge patch, for the few fields that belong to nobody's manifest. */
  async merge<T extends KubernetesObject>(ref: ObjectRef, patch: object, fieldManager: string): Promise<T> {
    return await this.call<T>({
      verb: 'patch',
      method: 'PATCH',
      path: `${objectPath(ref)}?fieldManager=${encodeURIComponent(fieldManager)}`,
      ref,
      body: patch,
      contentType: 'application/merge-patch+json',
    });
  }

  /** Any other subresource call, for instance a token for a service account. */
  async post<T>(ref: ObjectRef, subresource: string, body: object): Promise<T> {
    return await this.call<T>({
      verb: subresource,
      method: 'POST',
      path: `${objectPath(ref)}/${subresource}`,
      ref,
      body,
    });
  }

  /**
   * Asks for the end of exactly the object that was read; one of the same name that came after it is left alone
   * (Conflict). An object that is gone already is no error. The object may live on until its finalizers are done.
   */
  async delete(
    ref: ObjectRef,
    preconditions: { readonly uid: string; readonly resourceVersion?: string },
  ): Promise<void> {
    const body = { apiVersion: 'v1', kind: 'DeleteOptions', preconditions, propagationPolicy: 'Background' };
    try {
      await this.call({ verb: 'delete', method: 'DELETE', path: objectPath(ref), ref, body });
    } catch (error) {
      if (!(error instanceof NotFound)) throw error;
    }
  }

  /** One page. An empty `next` means that it was the last. */
  async listPage<T extends KubernetesObject>(
    kind: string,
    namespace: string | undefined,
    query: Record<string, string>,
    signal?: AbortSignal,
  ): Promise<{ items: T[]; resourceVersion: string; next: string }> {
    const path = `${collectionPath(kind, namespace)}?${new URLSearchParams(query)}`;
    const ref = { kind, name: '*', ...(namespace && { namespace }) };
    const list = await this.call<{ items: T[]; metadata: { resourceVersion: string; continue?: string } }>({
      verb: 'list',
      method: 'GET',
      path,
      ref,
      signal,
    });
    return { items: list.items, resourceVersion: list.metadata.resourceVersion, next: list.metadata.continue ?? '' };
  }

  /** All that the selector finds, page by page. Not for paths that run once per instance. */
  async list<T extends KubernetesObject>(
    kind: string,
    namespace: string | undefined,
    labelSelector = '',
  ): Promise<T[]> {
    const items: T[] = [];
    let next = '';
    do {
      const page: { items: T[]; next: string } = await this.listPage<T>(kind, namespace, {
        limit: '500',
        ...(labelSelector && { labelSelector }),
        ...(next && { continue: next }),
      });
      items.push(...page.items);
      next = page.next;
    } while (next);
    return items;
  }

  /** The raw stream of a watch, a JSON document per line. The caller ends it by the signal. */
  async watch(
    kind: string,
    namespace: string | undefined,
    query: Record<string, string>,
    signal: AbortSignal,
  ): Promise<Dispatcher.ResponseData['body']> {
    const path = `${collectionPath(kind, namespace)}?${new URLSearchParams({ ...query, watch: 'true' })}`;
    const failure = { verb: 'watch', object: describeRef({ kind, name: '*', ...(namespace && { namespace }) }) };
    let response: Dispatcher.ResponseData;
    try {
      response = await this.watches.request({
        method: 'GET',
        path,
        headers: this.headers,
        headersTimeout: 15_000,
        bodyTimeout: 0,
        signal,
      });
    } catch (error) {
      throw new Unreachable({ ...failure, message: (error as Error).message });
    }
    if (response.statusCode === 200) return response.body;
    throw await this.refusal(response, failure);
  }

  async close(): Promise<void> {
    await Promise.all([this.calls.close(), this.watches.destroy()]);
  }

  private async call<T>(call: Call): Promise<T> {
    for (let attempt = 1; ; attempt++) {
      try {
        return await this.once<T>(call);
      } catch (error) {
        if (call.signal?.aborted) throw error;
        if (error instanceof TooManyRequests && attempt < patience) {
          await pause(error.retryAfterMs * (0.75 + Math.random() / 2), undefined, { signal: call.signal });
          continue;
        }
        if (error instanceof Unreachable && call.method === 'GET' && attempt <= readRetries) {
          await pause(50 * attempt * (0.5 + Math.random()), undefined, { signal: call.signal });
          continue;
        }
        throw error;
      }
    }
  }

  private async once<T>({ verb, method, path, ref, body, contentType, signal }: Call): Promise<T> {
    const begun = performance.now();
    const failure = { verb, object: describeRef(ref) };
    const timeoutMs = this.options.timeoutMs ?? 15_000;
    let status = 0;
    try {
      const response = await this.calls.request({
        method,
        path,
        headers: {
          ...this.headers,
          ...(body !== undefined && { 'content-type': contentType ?? 'application/json' }),
        },
        body: body === undefined ? null : JSON.stringify(body),
        headersTimeout: timeoutMs,
        bodyTimeout: timeoutMs,
        signal: signal ?? null,
      });
      status = response.statusCode;
      if (status >= 300) throw await this.refusal(response, failure);
      return (await response.body.json()) as T;
    } catch (error) {
      if (error instanceof Error && 'failure' in error) throw error;
      throw new Unreachable({ ...failure, message: (error as Error).message });
    } finally {
      this.options.onCall?.({ verb, kind: ref.kind, status, seconds: (performance.now() - begun) / 1_000 });
    }
  }

  private async refusal(response: Dispatcher.ResponseData, failure: Omit<CallFailure, 'message'>): Promise<Error> {
    const text = await response.body.text();
    let answer: { message?: string; reason?: string } = {};
    try {
      answer = JSON.parse(text);
    } catch {
      // Not the API server's own words: a proxy's, perhaps.
    }
    const status = response.statusCode;
    const message = typeof answer.message === 'string' ? answer.message : `HTTP ${status}`;
    const retryAfter = Number(response.headers['retry-after']);
    const whole = { ...failure, status, message, ...(answer.reason && { reason: answer.reason }) };
    // A 404 without the server's own reason may come from anything in between, and proves nothing about the object.
    if (status === 404 && answer.reason !== 'NotFound') return new Unreachable(whole);
    return errorOf(whole, Number.isFinite(retryAfter) ? retryAfter : undefined);
  }
}
