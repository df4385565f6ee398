import type { V1Deployment, V1Pod } from '@kubernetes/client-node';
import { KubernetesClient, type KubernetesObject, Reflector } from '#kubernetes/index.js';

/**
 * A process that does nothing but hold the Deployments and pods of a namespace, as a service would: started with
 * `--expose-gc`, asked over IPC. So what is measured is the reflector's, and not the runner's of the specs.
 */
export interface Held {
  readonly uid: string;
  readonly resourceVersion: string;
  readonly generation: number;
  readonly counter: string;
  readonly ready: boolean;
}

/** Of each reflector. */
export type Counts = readonly Reflector<Held>['counts'][];

export interface Figures {
  readonly objects: number;
  /** Of the heap, after the garbage was collected, more than before the reflectors began. */
  readonly retainedMiB: number;
  readonly rssMiB: number;
  /** How long the event loop worked without coming round, since the start or the last figures. */
  readonly blockedMs: { readonly max: number; readonly p99: number };
  readonly cpuSeconds: number;
  readonly counts: Counts;
}

/** What was told last of an object: its counter, or undefined that it is gone, and when. */
export type Told = readonly [key: string, counter: string | undefined, at: number];

export interface Report {
  readonly figures: Figures;
  readonly held: readonly (readonly [key: string, held: Held])[];
  readonly told: readonly Told[];
}

const kinds = ['Deployment', 'Pod'] as const;

/**
 * How long the event loop was at work without coming round. A process that has to wait for a core is late too, and blocks
 * nobody: so of each lateness only as much counts as the process was on a core.
 */
class Blocked {
  private samples: number[] = [];
  private at = performance.now();
  private cpu = process.cpuUsage();

  constructor() {
    setInterval(() => this.sample(), 5).unref();
  }

  /** Of all since the last time. */
  take(): { readonly max: number; readonly p99: number } {
    const sorted = this.samples.sort((a, b) => a - b);
    this.samples = [];
    return { max: sorted.at(-1) ?? 0, p99: sorted[Math.floor(sorted.length * 0.99)] ?? 0 };
  }

  /** What was done since the last round is nobody's fault: the collection that we asked for ourselves. */
  forget(): void {
    this.at = performance.now();
    this.cpu = process.cpuUsage();
  }

  private sample(): void {
    const { user, system } = process.cpuUsage(this.cpu);
    const now = performance.now();
    this.samples.push(Math.min(now - this.at, (user + system) / 1_000));
    this.forget();
  }
}

function strip(object: KubernetesObject): Held {
  const { uid, resourceVersion, generation, labels } = object.metadata!;
  const pod = (object as V1Pod).status?.conditions?.some(({ type, status }) => type === 'Ready' && status === 'True');
  const replicas = (object as V1Deployment).status?.availableReplicas ?? 0;
  return {
    uid: uid!,
    resourceVersion: resourceVersion!,
    generation: generation ?? 0,
    counter: labels!.counter!,
    ready: pod || replicas > 0,
  };
}

function hold(kubeconfig: string, namespace: string): void {
  const gc = (globalThis as { gc?: () => void }).gc!;
  const client = new KubernetesClient({ kubeconfig });
  let told: Map<string, Told> | undefined;
  const reflectors = kinds.map(
    (kind) =>
      new Reflector<Held>(client, {
        kind,
        namespace,
        strip,
        onChange: (key, object) => void told?.set(`${kind} ${key}`, [`${kind} ${key}`, object?.counter, Date.now()]),
        onTrouble: (what, error) => console.error(what, String(error)),
      }),
  );

  gc();
  const heapBefore = process.memoryUsage().heapUsed;
  const cpuBefore = process.cpuUsage();
  const blocked = new Blocked();
  for (const reflector of reflectors) reflector.start();

  const counts = () => reflectors.map((reflector) => reflector.counts);
  const figures = (): Figures => {
    const blockedMs = blocked.take();
    gc();
    blocked.forget();
    const { heapUsed, rss } = process.memoryUsage();
    const { user, system } = process.cpuUsage(cpuBefore);
    return {
      objects: reflectors.reduce((sum, { size }) => sum + size, 0),
      retainedMiB: (heapUsed - heapBefore) / 2 ** 20,
      rssMiB: rss / 2 ** 20,
      blockedMs,
      cpuSeconds: (user + system) / 1e6,
      counts: counts(),
    };
  };
  const answers = {
    figures,
    counts,
    /** From now on what is told is kept, for the report. */
    record: () => {
      told = new Map();
    },
    told: () => [...(told?.values() ?? [])],
    report: (): Report => ({
      figures: figures(),
      held: reflectors.flatMap((reflector, n) =>
        [...reflector.keys()].map((key) => [`${kinds[n]} ${key}`, reflector.get(key)!] as const),
      ),
      told: [...(told?.values() ?? [])],
    }),
  };
  process.on('message', (question: keyof typeof answers) => process.send!(answers[question]() ?? null));
  process.on('disconnect', () => process.exit());
  Promise.all(reflectors.map(({ synced }) => synced)).then(() => process.send!('synced'));
}

hold(process.argv[2]!, process.argv[3]!);
