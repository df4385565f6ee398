import { setTimeout as pause } from 'node:timers/promises';
import type { KubernetesClient } from './client.js';
import { errorOf, Gone } from './errors.js';
import type { KubernetesObject } from './resources.js';

export interface ReflectorOptions<T> {
  readonly kind: string;
  readonly namespace: string;
  readonly labelSelector?: string;
  /** Keeps what is used of an object; the rest is forgotten at once. */
  readonly strip: (object: KubernetesObject) => T;
  /** Something about this object changed, or it is gone. Called after the store knows. An error in it is reported. */
  readonly onChange: (name: string, object: T | undefined) => void;
  readonly onTrouble: (what: string, error: unknown) => void;
}

const pageSize = '250';
/** The server's bookmarks come about every minute; silence for longer means that nobody is there. */
const silenceMs = 90_000;
const longestWaitMs = 30_000;

/**
 * A local copy of the objects of one kind, kept by list and watch. It comes back after every kind of failure, and what
 * it missed meanwhile is told when it has listed again: changes are never lost, though several may be told as one.
 */
export class Reflector<T> {
  private readonly store = new Map<string, { resourceVersion: string; object: T }>();
  private readonly stopping = new AbortController();
  private resourceVersion: string | undefined;
  private resolveSynced!: () => void;
  /** Resolves when the store was filled for the first time. */
  readonly synced: Promise<void>;

  constructor(
    private readonly client: KubernetesClient,
    private readonly options: ReflectorOptions<T>,
  ) {
    this.synced = new Promise((resolve) => {
      this.resolveSynced = resolve;
    });
  }

  start(): void {
    void this.run();
  }

  stop(): void {
    this.stopping.abort();
  }

  get(name: string): T | undefined {
    return this.store.get(name)?.object;
  }

  get size(): number {
    return this.store.size;
  }

  private async run(): Promise<void> {
    for (let failures = 0; !this.stopping.signal.aborted; ) {
      try {
        if (this.resourceVersion === undefined) await this.relist();
        await this.follow();
        failures = 0;
      } catch (error) {
        if (this.stopping.signal.aborted) return;
        if (error instanceof Gone) this.resourceVersion = undefined;
        failures += 1;
        this.options.onTrouble(`watch of ${this.options.kind} in ${this.options.namespace} broke`, error);
      }
      const ceiling = Math.min(longestWaitMs, 250 * 2 ** failures);
      await pause(ceiling * (0.5 + Math.random() / 2), undefined, { signal: this.stopping.signal }).catch(() => {});
    }
  }

  private async relist(): Promise<void> {
    const { kind, namespace, labelSelector } = this.options;
    const seen = new Set<string>();
    let next = '';
    let resourceVersion = '';
    do {
      const page = await this.client.listPage<KubernetesObject>(
        kind,
        namespace,
        { limit: pageSize, ...(labelSelector && { labelSelector }), ...(next && { continue: next }) },
        this.stopping.signal,
      );
      for (const object of page.items) {
        seen.add(object.metadata!.name!);
        this.put(object);
      }
      ({ next, resourceVersion } = page);
    } while (next);
    for (const name of [...this.store.keys()]) if (!seen.has(name)) this.remove(name);
    this.resourceVersion = resourceVersion;
    this.resolveSynced();
  }

  /** Until the server ends the watch, which it does every few minutes; throws when something breaks. */
  private async follow(): Promise<void> {
    const { kind, namespace, labelSelector } = this.options;
    const silence = new AbortController();
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
    const alarm = setTimeout(() => silence.abort(new Error(`no word for ${silenceMs} ms`)), silenceMs);
    try {
      let rest = '';
      for await (const chunk of body.setEncoding('utf8')) {
        alarm.refresh();
        const lines = (rest + chunk).split('\n');
        rest = lines.pop()!;
        for (const line of lines) if (line) this.take(JSON.parse(line));
      }
    } finally {
      clearTimeout(alarm);
    }
  }

  private take(event: {
    type: string;
    object: KubernetesObject & { code?: number; message?: string; reason?: string };
  }): void {
    const { type, object } = event;
    if (type === 'ERROR') {
      const { code = 500, message = 'the watch ended in an error', reason } = object;
      throw errorOf(
        { verb: 'watch', object: this.options.kind, status: code, message, ...(reason && { reason }) },
        undefined,
      );
    }
    this.resourceVersion = object.metadata!.resourceVersion!;
    if (type === 'DELETED') this.remove(object.metadata!.name!);
    else if (type !== 'BOOKMARK') this.put(object);
  }

  private put(object: KubernetesObject): void {
    const name = object.metadata!.name!;
    const resourceVersion = object.metadata!.resourceVersion!;
    if (this.store.get(name)?.resourceVersion === resourceVersion) return;
    const stripped = this.options.strip(object);
    this.store.set(name, { resourceVersion, object: stripped });
    this.tell(name, stripped);
  }

  private remove(name: string): void {
    if (this.store.delete(name)) this.tell(name, undefined);
  }

  private tell(name: string, object: T | undefined): void {
    try {
      this.options.onChange(name, object);
    } catch (error) {
      this.options.onTrouble(`handler of ${this.options.kind} ${name} failed`, error);
    }
  }
}
