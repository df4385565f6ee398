import { SpanKind, SpanStatusCode, trace } from '@opentelemetry/api';
import type { Dispatcher } from 'undici';
import { inSpan } from '#observability/tracing.js';
import {
  type Answer,
  ApiServer,
  type ApiServerOptions,
  type CallOptions,
  type Request,
  retryAfterMs,
} from './api-server.js';
import { readConnection } from './connection.js';
import { errorOf, type KubernetesError, NotFound, ServerFault } from './errors.js';
import { collectionPath, describeRef, type KubernetesObject, type ObjectRef, objectPath, refOf } from './resources.js';

export interface KubernetesClientOptions extends ApiServerOptions {
  /** Path of the file. */
  readonly kubeconfig: string;
}

export interface Page<T> {
  readonly items: readonly T[];
  readonly resourceVersion: string;
  /** Where the next page begins; empty: this was the last. */
  readonly next: string;
}

/**
 * The calls we make to an API server. Each has a time limit and ends in a result or in one of errors.ts; how connections,
 * pacing, 429 and repeated reads are dealt with stands at ApiServer.
 */
export class KubernetesClient {
  readonly server: ApiServer;

  constructor(options: KubernetesClientOptions) {
    this.server = new ApiServer(readConnection(options.kubeconfig), options);
  }

  /** Undefined only when the server says that there is no such object. */
  async get<T extends KubernetesObject>(ref: ObjectRef, options?: CallOptions): Promise<T | undefined> {
    try {
      return await this.call<T>(ref, { verb: 'get', method: 'GET', path: objectPath(ref), ...options });
    } catch (error) {
      if (isGone(error, ref)) return undefined;
      throw error;
    }
  }

  /**
   * Server-side apply: afterwards the object has what `object` says, and the rest is as others made it.
   *
   * With `metadata.resourceVersion` it ends in Conflict when the object has changed since. An object that is gone is
   * made anew even so; give `metadata.uid` too, and that is a Conflict as well. Without `force` a field that somebody
   * else manages differently is a Conflict.
   * @returns the object as it is now.
   */
  async apply<T extends KubernetesObject>(
    object: T,
    fieldManager: string,
    { force = true, ...options }: CallOptions & { readonly force?: boolean } = {},
  ): Promise<T> {
    const ref = refOf(object);
    return await this.call<T>(ref, {
      verb: 'apply',
      method: 'PATCH',
      path: `${objectPath(ref)}?${new URLSearchParams({ fieldManager, force: String(force) })}`,
      body: JSON.stringify(object),
      contentType: 'application/apply-patch+yaml',
      ...options,
    });
  }

  /** Throws AlreadyExists. */
  async create<T extends KubernetesObject>(object: T, fieldManager: string, options?: CallOptions): Promise<T> {
    const ref = refOf(object);
    return await this.call<T>(ref, {
      verb: 'create',
      method: 'POST',
      // Strict: a misspelt field is an error here, as it is for apply, and not silently dropped.
      path: `${collectionPath(ref.kind, ref.namespace)}?${new URLSearchParams({ fieldManager, fieldValidation: 'Strict' })}`,
      body: JSON.stringify(object),
      ...options,
    });
  }

  /** A merge patch, for the few fields that belong to nobody's manifest. */
  async merge<T extends KubernetesObject>(
    ref: ObjectRef,
    patch: object,
    fieldManager: string,
    options?: CallOptions,
  ): Promise<T> {
    return await this.call<T>(ref, {
      verb: 'patch',
      method: 'PATCH',
      path: `${objectPath(ref)}?${new URLSearchParams({ fieldManager, fieldValidation: 'Strict' })}`,
      body: JSON.stringify(patch),
      contentType: 'application/merge-patch+json',
      ...options,
    });
  }

  /** A subresource that is called rather than kept, for instance the `token` of a ServiceAccount. */
  async post<T>(ref: ObjectRef, subresource: string, body: object, options?: CallOptions): Promise<T> {
    return await this.call<T>(ref, {
      verb: subresource,
      method: 'POST',
      path: `${objectPath(ref)}/${subresource}`,
      body: JSON.stringify(body),
      ...options,
    });
  }

  /**
   * Asks for the end of exactly the object that was read; one of the same name that came after it is left alone
   * (Conflict). An object that is gone already is no error. The object may live on until its finalizers are done.
   */
  async delete(
    ref: ObjectRef,
    preconditions: { readonly uid: string; readonly resourceVersion?: string },
    {
      propagation = 'Background',
      ...options
    }: CallOptions & { readonly propagation?: 'Background' | 'Foreground' | 'Orphan' } = {},
  ): Promise<void> {
    const body = { apiVersion: 'v1', kind: 'DeleteOptions', preconditions, propagationPolicy: propagation };
    try {
      await this.call(ref, {
        verb: 'delete',
        method: 'DELETE',
        path: objectPath(ref),
        body: JSON.stringify(body),
        ...options,
      });
    } catch (error) {
      if (!isGone(error, ref)) throw error;
    }
  }

  /** One page of a namespace, or of all without one. Throws Gone when a page came too late to be continued. */
  async listPage<T extends KubernetesObject>(
    kind: string,
    namespace: string | undefined,
    query: Readonly<Record<string, string>>,
    options?: CallOptions,
  ): Promise<Page<T>> {
    const list = await this.call<{ items?: T[]; metadata: { resourceVersion: string; continue?: string } }>(
      collectionRef(kind, namespace),
      {
        verb: 'list',
        method: 'GET',
        path: `${collectionPath(kind, namespace)}?${new URLSearchParams(query)}`,
        ...options,
      },
    );
    return {
      items: list.items ?? [],
      resourceVersion: list.metadata.resourceVersion,
      next: list.metadata.continue ?? '',
    };
  }

  /** All that the selector finds, page by page. Not for paths that run once per instance. */
  async list<T extends KubernetesObject>(
    kind: string,
    namespace: string | undefined,
    labelSelector = '',
    options?: CallOptions,
  ): Promise<T[]> {
    const items: T[] = [];
    let next = '';
    do {
      const query = { limit: '500', ...(labelSelector && { labelSelector }), ...(next && { continue: next }) };
      const page: Page<T> = await this.listPage<T>(kind, namespace, query, options);
      items.push(...page.items);
      next = page.next;
    } while (next);
    return items;
  }

  /**
   * What a container of a pod has written, its last part when it is more than `limitBytes`. Throws as the others do; where
   * the node does not answer that is a ServerFault.
   */
  async logs(
    { name, namespace }: { readonly name: string; readonly namespace: string },
    container: string,
    { limitBytes, ...options }: CallOptions & { readonly limitBytes: number },
  ): Promise<string> {
    const ref = { kind: 'Pod', name, namespace };
    const request = {
      verb: 'logs',
      method: 'GET' as const,
      path: `${objectPath(ref)}/log?${new URLSearchParams({ container, tailLines: '2000' })}`,
      kind: 'Pod',
      object: describeRef(ref),
      ...options,
    };
    const answer = await this.server.send(request);
    if (answer.status >= 300) throw refusal(request, answer);
    return answer.text.slice(-limitBytes);
  }

  /** The raw stream of a watch, a JSON document per line. The caller ends it by the signal. */
  async watch(
    kind: string,
    namespace: string | undefined,
    query: Readonly<Record<string, string>>,
    signal: AbortSignal,
  ): Promise<Dispatcher.ResponseData['body']> {
    const request: Request & { signal: AbortSignal } = {
      verb: 'watch',
      method: 'GET',
      path: `${collectionPath(kind, namespace)}?${new URLSearchParams({ ...query, watch: 'true' })}`,
      kind,
      object: describeRef(collectionRef(kind, namespace)),
      signal,
    };
    const { statusCode, headers, body } = await this.server.stream(request);
    if (statusCode === 200) return body;
    throw refusal(request, { status: statusCode, headers, text: await body.text() });
  }

  async close(): Promise<void> {
    await this.server.close();
  }

  private async call<T>(ref: ObjectRef, what: Omit<Request, 'kind' | 'object'>): Promise<T> {
    const request = { ...what, kind: ref.kind, object: describeRef(ref) };
    const answer = await this.send(request, ref);
    if (answer.status >= 300) throw refusal(request, answer);
    const parsed = parse(answer.text);
    if (!parsed) {
      const { verb, object } = request;
      throw new ServerFault({ verb, object, status: answer.status, message: 'the answer is no JSON object' });
    }
    return parsed as T;
  }

  /** A change is a span where one is open. Reads are many and are their caller's time. */
  private async send(request: Request, { kind, namespace }: ObjectRef): Promise<Answer> {
    if (request.method === 'GET' || !trace.getActiveSpan()?.isRecording()) return await this.server.send(request);
    const attributes = {
      'http.request.method': request.method,
      'k8s.resource.kind': kind,
      ...(namespace !== undefined && { 'k8s.namespace.name': namespace }),
    };
    return await inSpan(`${request.verb} ${kind}`, { kind: SpanKind.CLIENT, attributes }, async (span) => {
      const answer = await this.server.send(request);
      span.setAttribute('http.response.status_code', answer.status);
      if (answer.status >= 400 && !expected.has(answer.status)) {
        span.setAttribute('error.type', String(answer.status));
        span.setStatus({ code: SpanStatusCode.ERROR });
      }
      return answer;
    });
  }
}

/** To these the caller has an answer: nothing there, there already, changed meanwhile. */
const expected = new Set([404, 409]);

function collectionRef(kind: string, namespace: string | undefined): ObjectRef {
  return { kind, name: '*', ...(namespace !== undefined && { namespace }) };
}

function isGone(error: unknown, ref: ObjectRef): boolean {
  return error instanceof NotFound && error.failure.about === ref.name;
}

/** A parser's error quotes what it read, so it goes no further. */
function parse(text: string): object | undefined {
  try {
    const value: unknown = JSON.parse(text);
    return typeof value === 'object' && value !== null ? value : undefined;
  } catch {
    return undefined;
  }
}

/** Of these the server's words name objects, users and fields. Other refusals may quote what was sent. */
const harmless = new Set([401, 403, 404, 409, 410, 429]);

function refusal({ verb, kind, object }: Request, { status, headers, text }: Answer): KubernetesError {
  const said = (parse(text) ?? {}) as { message?: unknown; reason?: unknown; details?: { name?: unknown } };
  const reason = typeof said.reason === 'string' && said.reason ? said.reason : undefined;
  const about = typeof said.details?.name === 'string' ? said.details.name : undefined;
  const failure = {
    verb,
    object,
    status,
    message: wordsOf(said.message, kind, status, reason),
    ...(reason && { reason }),
    ...(about && { about }),
  };
  return errorOf(failure, retryAfterMs(headers['retry-after']));
}

function wordsOf(message: unknown, kind: string, status: number, reason = 'no reason'): string {
  if (typeof message !== 'string')
    return `HTTP ${status}, which is not the API server's; is this API installed, and is something in between?`;
  if (kind === 'Secret' && !harmless.has(status))
    return `HTTP ${status} (${reason}); the server's words are left out, because they may quote the Secret`;
  return status === 401 ? `${message}: the kubeconfig's token or certificate is not valid, or not any more` : message;
}
