import { setTimeout as pause } from 'node:timers/promises';
import { context, ROOT_CONTEXT } from '@opentelemetry/api';
import type { KubernetesClient } from './client.js';
import { errorOf, Gone, KubernetesError, ServerFault, TooManyRequests, Unreachable } from './errors.js';
import { KubernetesMetrics } from './metrics.js';
import { type KubernetesObject, keyOf } from './resources.js';

export interface ReflectorOptions<T> {
  readonly kind: string;
  /** All namespaces without one. */
  readonly namespace?: string;
  readonly labelSelector?: string;
  /** Keeps what is used of an object; the rest is forgotten at once. */
  readonly strip: (object: KubernetesObject) => T;
  /**
   * The object of this key (`namespace/name`) is new, changed, or gone (undefined). Called after the store knows. Says
   * only that something changed: several changes may be told as one, and one may be told twice.
   */
  readonly onChange: (key: string, object: T | undefined, previous: T | undefined) => void | Promise<void>;
  /** Something failed. The reflector goes on by itself. */
  readonly onTrouble: (what: string, error: unknown) => void;
  readonly pageSize?: number;
  /** For how long a watch may say nothing; the server's bookmarks come about every minute. */
  readonly silenceMs?: number;
  /** The first and the longest wait after a failure. */
  readonly backoff?: { readonly leastMs: number; readonly mostMs: number };
}

interface WatchEvent {
  readonly type: string;
  readonly object: KubernetesObject & { readonly code?: number; readonly message?: string; readonly reason?: string };
}

/** While nobody answers at all, asking again costs the server nothing, and it should be found soon after it is back. */
const longestWaitForServerMs = 2_000;
/** A resourceVersion that is refused again and again is given up, whatever the server says about it. */
const refusalsUntilRelist = 5;

/**
 * A local copy of the objects of one kind, kept by list and watch.
 *
 * It comes back after every kind of failure, waiting longer each time, and what it missed meanwhile is told when it
 * resumes or has listed again, deletions included: no change is lost, though several may be told as one. While it is
 * away the store holds what was true last. What a handler throws is counted, told and harms nothing else.
 *
 * A server that is not there says nothing about our place in its history, so for that alone nothing is listed again: all
 * who watch would do it at once. A dead connection is found by its pings (see ApiServer) and costs no list either.
 */
export class Reflector<T> {
  /** Resolves when the store was filled for the first time; rejects when the reflector was stopped before. */
  readonly synced: Promise<void>;
  readonly counts = { lists: 0, watches: 0, failures: 0, handlerErrors: 0 };
  private readonly store = new Map<string, { readonly resourceVersion: string; readonly object: T }>();
  private readonly stopping = new AbortController();
  private readonly settle: { resolve(): void; reject(error: Error): void };
  /** From where to watch on; undefined: list first. */
  private resourceVersion: string | undefined;
  private events = 0;
  private readonly metrics = new KubernetesMetrics();
  private started = false;

  constructor(
    private readonly client: KubernetesClient,
    private readonly options: ReflectorOptions<T>,
  ) {
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    this.synced = promise;
    this.settle = { resolve, reject };
    promise.catch(() => {}); // Who does not wait for it need not know.
  }

  start(): void {
    if (this.started) throw new Error('a reflector is started once');
    this.started = true;
    // Whoever wants it first is not what all its reading belongs to.
    void context.with(ROOT_CONTEXT, () => this.run());
  }

  /** No handler is called after it. */
  stop(): void {
    this.stopping.abort();
    this.settle.reject(new Error(`the reflector of ${this.what} was stopped before it had listed`));
  }

  /** @param key `namespace/name`. */
  get(key: string): T | undefined {
    return this.store.get(key)?.object;
  }

  keys(): MapIterator<string> {
    return this.store.keys();
  }

  get size(): number {
    return this.store.size;
  }

  private get what(): string {
    return `${this.options.kind} in ${this.options.namespace ?? 'all namespaces'}`;
  }

  private async run(): Promise<void> {
    const { signal } = this.stopping;
    let unreached = 0;
    let refused = 0;
    while (!signal.aborted) {
      const eventsBefore = this.events;
      let failure: unknown;
      try {
        if (this.resourceVersion === undefined) await this.relist();
        await this.follow();
        // Even a quiet watch has its bookmarks.
        if (this.events === eventsBefore) failure = new ServerFault(this.failure('the watch ended without a word'));
      } catch (error) {
        failure = error;
      }
      if (signal.aborted) return;
      if (this.events > eventsBefore) unreached = refused = 0;
      // Counted apart: what a server says while it starts is not waited for as long as it was away.
      const away = failure instanceof Unreachable;
      const failures = away ? ++unreached : ++refused;
      if (failure instanceof Gone || failure instanceof Silent || (!away && refused % refusalsUntilRelist === 0))
        this.resourceVersion = undefined;
      if (failure !== undefined) {
        this.counts.failures += 1;
        this.metrics.watchFailed(this.options.kind, failure);
        this.options.onTrouble(`watch of ${this.what} broke`, failure);
      }
      await pause(this.waitAfter(failures, failure), undefined, { signal }).catch(() => {});
    }
  }

  private waitAfter(failures: number, failure: unknown): number {
    const { leastMs = 250, mostMs = 30_000 } = this.options.backoff ?? {};
    const most = failure instanceof Unreachable ? Math.min(mostMs, longestWaitForServerMs) : mostMs;
    const asked = failure instanceof TooManyRequests ? failure.retryAfterMs : 0;
    // Jitter: after a restart of the server its watchers must not come back all at once.
    const jitter = 0.5 + Math.random() / 2;
    return Math.max(asked * (1 + jitter / 4), Math.min(most, leastMs * 2 ** Math.min(failures, 20)) * jitter);
  }

  private async relist(): Promise<void> {
    const { kind, namespace, labelSelector, pageSize = 100 } = this.options;
    const { signal } = this.stopping;
    this.counts.lists += 1;
    this.metrics.listed(kind);
    const seen = new Set<string>();
    let next = '';
    let resourceVersion = '';
    do {
      const page = await this.client.listPage(
        kind,
        namespace,
        { limit: String(pageSize), ...(labelSelector && { labelSelector }), ...(next && { continue: next }) },
        { signal, priority: 'bulk', besideWatches: true },
      );
      for (const object of page.items) {
        if (signal.aborted) return;
        seen.add(keyOf(object.metadata ?? {}));
        this.put(object);
      }
      ({ next, resourceVersion } = page);
    } while (next);
    for (const key of [...this.store.keys()]) if (!seen.has(key)) this.remove(key);
    this.resourceVersion = resourceVersion;
    this.settle.resolve();
  }

  /** Until the server ends the watch, which it does every few minutes; throws when something breaks. */
  private async follow(): Promise<void> {
    const { kind, namespace, labelSelector, silenceMs = 90_000 } = this.options;
    const silence = new AbortController();
    this.counts.watches += 1;
    const alarm = setTimeout(() => silence.abort(), silenceMs);
    try {
      const body = await this.client.watch(
        kind,
        namespace,
        {
          resourceVersion: this.resourceVersion!,
          allowWatchBookmarks: 'true',
          timeoutSeconds: String(300 + Math.floor(Math.random() * 300)),
          ...(labelSelector && { labelSelector }),
        },
        AbortSignal.any([this.stopping.signal, silence.signal]),
      );
      let rest = '';
      for await (const chunk of body.setEncoding('utf8')) {
        alarm.refresh();
        const lines = (rest + chunk).split('\n');
        rest = lines.pop()!;
        for (const line of lines) {
          if (this.stopping.signal.aborted) return;
          if (line) this.take(this.parse(line));
        }
      }
      if (rest) throw new ServerFault(this.failure('the watch ended in the middle of an event'));
    } catch (error) {
      // The connection may be dead, or our resourceVersion ahead of a server that was restored: both are just silent.
      if (silence.signal.aborted) throw new Silent(this.failure(`nothing was heard for ${silenceMs} ms`));
      if (error instanceof KubernetesError) throw error;
      throw new Unreachable(this.failure(`the connection broke: ${(error as Error).message}`), { cause: error });
    } finally {
      clearTimeout(alarm);
    }
  }

  private take({ type, object }: WatchEvent): void {
    if (type === 'ERROR') {
      const { code = 500, message = 'the watch ended in an error', reason } = object;
      throw errorOf({ ...this.failure(message), status: code, ...(reason && { reason }) });
    }
    this.events += 1;
    this.resourceVersion = object.metadata!.resourceVersion!;
    if (type === 'DELETED') this.remove(keyOf(object.metadata!));
    else if (type !== 'BOOKMARK') this.put(object);
  }

  private parse(line: string): WatchEvent {
    let event: WatchEvent | undefined;
    try {
      event = JSON.parse(line);
    } catch {
      // A parser's error quotes what it read, so it goes no further.
    }
    if (event?.type === 'ERROR' || event?.object?.metadata?.resourceVersion) return event;
    throw new ServerFault(this.failure('the watch said what is no event'));
  }

  private put(object: KubernetesObject): void {
    const key = keyOf(object.metadata!);
    const resourceVersion = object.metadata!.resourceVersion!;
    const previous = this.store.get(key);
    if (previous?.resourceVersion === resourceVersion) return;
    let stripped: T;
    try {
      stripped = this.options.strip(object);
    } catch (error) {
      this.noteHandlerError(key, error);
      return;
    }
    this.store.set(key, { resourceVersion, object: stripped });
    this.tell(key, stripped, previous?.object);
  }

  private remove(key: string): void {
    const previous = this.store.get(key);
    if (this.store.delete(key)) this.tell(key, undefined, previous?.object);
  }

  private tell(key: string, object: T | undefined, previous: T | undefined): void {
    try {
      const told = this.options.onChange(key, object, previous);
      if (told) told.catch((error) => this.noteHandlerError(key, error));
    } catch (error) {
      this.noteHandlerError(key, error);
    }
  }

  private noteHandlerError(key: string, error: unknown): void {
    this.counts.handlerErrors += 1;
    this.metrics.handlerFailed(this.options.kind);
    this.options.onTrouble(`handler of ${this.options.kind} ${key} failed`, error);
  }

  private failure(message: string) {
    return { verb: 'watch', object: this.what, message };
  }
}

class Silent extends Unreachable {}
