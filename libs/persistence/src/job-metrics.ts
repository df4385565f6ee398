import { metrics } from '@opentelemetry/api';
import { Figures } from './figures.js';
import type { JobQueue } from './job-queue.js';

type Figure = Awaited<ReturnType<JobQueue['figures']>>[number];

const ends = ['done', 'again', 'failed', 'lost'] as const;
type End = (typeof ends)[number];

const none: Omit<Figure, 'kind'> = { jobs: 0, due: 0, oldestDue: 0, failing: 0, leased: 0, stuck: 0 };

/** Backlog, ages, ends and durations of jobs, by kind; never by key. */
export class JobMetrics {
  private readonly meter = metrics.getMeter('mesh.jobs');
  private readonly running: Map<string, number>;
  private readonly figures: Figures<readonly Figure[]>;
  private readonly ends = this.meter.createCounter('mesh.job.runs', {
    description: 'Runs of a job, by how they ended.',
  });
  private readonly durations = this.meter.createHistogram('mesh.job.run.seconds', {
    description: 'How long a run of a job took. A job that waits for something runs many times, briefly.',
    advice: { explicitBucketBoundaries: [0.01, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 15, 60, 300] },
  });

  /** @param kinds all that this process works on: each is told from the start, also when there is nothing to do. */
  constructor(queue: JobQueue, kinds: readonly string[], onTrouble: (what: string, error: unknown) => void) {
    this.running = new Map(kinds.map((kind) => [kind, 0]));
    for (const kind of kinds) for (const end of ends) this.ends.add(0, { kind, end });
    this.figures = new Figures('jobs', () => queue.figures(), onTrouble);
    const gauge = (name: string, description: string, read: (one: Omit<Figure, 'kind'>) => number) =>
      this.figures.gauge(name, description, (seen) =>
        kinds.map((kind) => [read(seen.find((one) => one.kind === kind) ?? none), { kind }]),
      );
    gauge('mesh.job.waiting', 'Jobs that are due and that nobody has taken.', (one) => one.due);
    gauge('mesh.job.oldest.seconds', 'How long the oldest of these has been due.', (one) => one.oldestDue);
    gauge(
      'mesh.job.failing',
      'Jobs that have failed, or whose worker died, since they last succeeded.',
      (one) => one.failing,
    );
    gauge('mesh.job.stuck', 'Jobs that failed again and again, or that nobody takes.', (one) => one.stuck);
    gauge('mesh.job.leased', 'Jobs that a worker holds.', (one) => one.leased);
    this.meter
      .createObservableGauge('mesh.job.running', { description: 'Jobs that this process works on just now.' })
      .addCallback((result) => {
        for (const [kind, count] of this.running) result.observe(count, { kind });
      });
  }

  start(): void {
    this.figures.start();
  }

  async stop(): Promise<void> {
    await this.figures.stop();
  }

  /** @returns what to call with its end. */
  runs(kind: string): (end: End) => void {
    const begun = performance.now();
    this.running.set(kind, (this.running.get(kind) ?? 0) + 1);
    return (end) => {
      this.running.set(kind, this.running.get(kind)! - 1);
      this.ends.add(1, { kind, end });
      this.durations.record((performance.now() - begun) / 1_000, { kind });
    };
  }
}
