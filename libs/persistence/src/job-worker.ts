import { hostname } from 'node:os';
import { setTimeout as pause } from 'node:timers/promises';
import { context } from '@opentelemetry/api';
import { about, contextOf, inSpan } from '#observability/index.js';
import type { Transaction } from './database.js';
import { JobMetrics } from './job-metrics.js';
import { type ClaimedJob, type JobQueue, LeaseLost, type StuckJob } from './job-queue.js';
import { LeaseClock, thisMoment } from './lease-clock.js';
import { Periodic } from './periodic.js';
import { whenDue } from './when-due.js';

/** What a reconciler holds while it works. */
export interface Lease {
  readonly key: string;
  readonly attempt: number;
  /** Grows with every claim of any job: what is named after it is this run's, and nobody's who comes later or wakes up late. */
  readonly token: string;
  /** The trace of what asked for the job last. */
  readonly traceparent: string | undefined;
  /** Aborted when the lease is lost or the service drains. */
  readonly signal: AbortSignal;
  /** Throws LeaseLost when the database says so. Before each step that has effects outside it. */
  check(): Promise<void>;
  /**
   * Throws LeaseLost when by our own clock the lease may have run out. Does not wait, so that nothing comes between it
   * and an effect: to be called last of all before each request that changes something outside the database. It finds
   * what `check` cannot: a process that was frozen between the answer and the effect.
   */
  readonly fence: () => void;
  /**
   * Throws LeaseLost; otherwise the lease is held until `tx` ends. In each transaction that writes. `note`: what it writes
   * is no progress, so a job that fails or kills its worker after it is still known as one that does.
   */
  hold(tx: Transaction, what?: 'progress' | 'note'): Promise<void>;
}

/** `done`: the world is as asked. `again`: look once more after that time, or when something hurries the job. */
export type Outcome = 'done' | { readonly again: number };

/** Takes one step or several towards what is asked. May be run at any time, any number of times. */
export type Reconcile = (lease: Lease) => Promise<Outcome>;

export interface JobWorkerOptions {
  readonly reconcilers: Readonly<Record<string, Reconcile>>;
  readonly concurrency?: number;
  /** So many of these are kept free for jobs that somebody waits for (interactive), however many others there are. */
  readonly kept?: number;
  readonly leaseMs?: number;
  /** How often to look for jobs that nobody in this process announced: those of a dead neighbour, and timed ones. */
  readonly pollMs?: number;
  readonly onError?: (job: ClaimedJob, error: unknown) => void;
  /** Told each minute in which there are some: jobs that do not come to an end by themselves. */
  readonly onStuck?: (jobs: readonly StuckJob[]) => void;
  /** Waits before the next try after `attempt` failures, in milliseconds. */
  readonly backoff?: (attempt: number) => number;
}

/** 0.2 s, doubling to 30 s, with full jitter in the upper half, so that a herd does not come back as one. */
export function jitteredBackoff(attempt: number): number {
  const ceiling = Math.min(30_000, 200 * 2 ** Math.min(attempt - 1, 10));
  return ceiling / 2 + Math.random() * (ceiling / 2);
}

const defaultLeaseMs = 30_000;
const defaultPollMs = 1_000;
const noJob: ClaimedJob = { kind: '', key: '', fence: '', attempt: 0, wanted: '', traceparent: null, about: null };

/** Claims due jobs and runs their reconcilers, several at a time, each under a lease that is kept alive. */
export class JobWorker {
  private readonly holder = `${hostname()}:${process.pid}`;
  private readonly running = new Set<Promise<void>>();
  private readonly stopping = new AbortController();
  private wakeUp: () => void = () => {};
  private awake = false;
  private loop: Promise<void> = Promise.resolve();
  private readonly metrics: JobMetrics;
  private readonly standing: readonly Pick<Periodic, 'start' | 'stop'>[];

  constructor(
    private readonly queue: JobQueue,
    private readonly options: JobWorkerOptions,
  ) {
    const { onStuck, onError, reconcilers } = options;
    const trouble = (what: string, error: unknown) => onError?.({ ...noJob, kind: what }, error);
    this.metrics = new JobMetrics(queue, Object.keys(reconcilers), trouble);
    const report = async () => {
      const jobs = await queue.stuckJobs(10);
      if (jobs.length > 0) onStuck?.(jobs);
    };
    this.standing = [this.metrics, new Periodic('report of stuck jobs', 60_000, report, trouble)];
  }

  start(): void {
    this.queue.onAsked = this.wake;
    this.loop = this.work();
    for (const one of this.standing) one.start();
  }

  /** There may be something to do. Cheap; call it after each commit that asked for a job. */
  readonly wake = (): void => {
    this.awake = true;
    this.wakeUp();
  };

  /** No new job is claimed; those that run are told to come to a stop and waited for. */
  async drain(): Promise<void> {
    this.stopping.abort();
    this.wake();
    await this.loop;
    await Promise.allSettled([...this.running, ...this.standing.map((one) => one.stop())]);
  }

  private async work(): Promise<void> {
    const { reconcilers, concurrency = 16, kept = 0, leaseMs = defaultLeaseMs, pollMs = defaultPollMs } = this.options;
    const kinds = Object.keys(reconcilers);
    while (!this.stopping.signal.aborted) {
      this.awake = false;
      const room = concurrency - this.running.size;
      let claimed: ClaimedJob[] = [];
      const asked = thisMoment();
      try {
        const forAll = Math.max(0, room - kept);
        if (forAll > 0) claimed = await this.queue.claim(kinds, this.holder, leaseMs, forAll);
        const left = claimed.length === forAll ? room - forAll : 0; // else nothing more is due
        if (left > 0) claimed.push(...(await this.queue.claim(kinds, this.holder, leaseMs, left, 'interactive')));
      } catch (error) {
        this.options.onError?.({ ...noJob, kind: 'claim' }, error);
      }
      for (const job of claimed) {
        const run = this.run(job, reconcilers[job.kind]!, new LeaseClock(asked, leaseMs)).finally(() => {
          this.running.delete(run);
          this.wake();
        });
        this.running.add(run);
      }
      // What becomes due, or has room again, wakes us; who got fewer than he asked for need not ask at once again.
      await this.sleep(pollMs);
    }
  }

  /** What is due earlier than the next look by itself. */
  private wakeIn(ms: number): void {
    const { pollMs = defaultPollMs } = this.options;
    if (ms > 0 && ms < pollMs) whenDue(ms, this.wake);
  }

  private async sleep(ms: number): Promise<void> {
    if (this.awake || this.stopping.signal.aborted) return;
    await new Promise<void>((resolve) => {
      const timer = setTimeout(resolve, ms);
      this.wakeUp = () => {
        clearTimeout(timer);
        resolve();
      };
    });
  }

  private async run(job: ClaimedJob, reconcile: Reconcile, clock: LeaseClock): Promise<void> {
    const ended = this.metrics.runs(job.kind);
    const lost = new AbortController();
    const heartbeat = this.keepAlive(job, clock, lost);
    const fence = () => {
      if (clock.hasRunOut) throw new LeaseLost(job.kind, job.key);
    };
    let end: 'done' | 'again' | 'failed' | 'lost' = 'failed';
    try {
      const outcome = await inSpanOf(job, reconcile, {
        key: job.key,
        attempt: job.attempt,
        token: job.fence,
        traceparent: job.traceparent ?? undefined,
        signal: AbortSignal.any([lost.signal, this.stopping.signal]),
        check: async () => {
          const asked = thisMoment();
          clock.heldFor(asked, await this.queue.check(job));
          fence();
        },
        fence,
        hold: (tx, what) => this.queue.hold(tx, job, what),
      });
      if (outcome === 'done') await this.queue.finish(job);
      else {
        await this.queue.again(job, outcome.again);
        this.wakeIn(outcome.again);
      }
      end = outcome === 'done' ? 'done' : 'again';
    } catch (error) {
      if (error instanceof LeaseLost) end = 'lost';
      else this.options.onError?.(job, error);
      const wait = this.stopping.signal.aborted ? 0 : (this.options.backoff ?? jitteredBackoff)(job.attempt);
      // When the database is away this fails too; then the lease runs out and the job is claimed again.
      await this.queue.failed(job, error instanceof Error ? error.message : String(error), wait).catch(() => {});
      this.wakeIn(wait);
    } finally {
      lost.abort();
      ended(end);
      await heartbeat;
    }
  }

  private async keepAlive(job: ClaimedJob, clock: LeaseClock, lost: AbortController): Promise<void> {
    const { leaseMs = defaultLeaseMs } = this.options;
    while (!lost.signal.aborted) {
      await pause(leaseMs / 3, undefined, { signal: lost.signal, ref: false }).catch(() => {});
      if (lost.signal.aborted) return;
      const asked = thisMoment();
      // Not being able to ask is not a loss: `check`, `hold` and `fence` decide before anything is done.
      const held = await this.queue.extend(job, leaseMs).catch(() => undefined);
      if (held) clock.heldFor(asked, leaseMs);
      if (held === false) lost.abort();
    }
  }
}

/** Below what asked for it. What nobody's operation asks for is done all the time, and has no span. */
async function inSpanOf(job: ClaimedJob, reconcile: Reconcile, lease: Lease): Promise<Outcome> {
  const parent = about(job.about ?? {}, contextOf(job.traceparent));
  if (!job.traceparent) return await context.with(parent, () => reconcile(lease));
  const attributes = { 'mesh.job.kind': job.kind, 'mesh.attempt': job.attempt };
  return await inSpan(`reconcile ${job.kind}`, { attributes, parent }, () => reconcile(lease));
}
