import { metrics } from '@opentelemetry/api';
import type { JobQueue } from './job-queue.js';

type Figures = Awaited<ReturnType<JobQueue['figures']>>;

/** Backlog, ages and ends of jobs, by kind; never by key. What has to be asked for is told as it was seen last. */
export class JobMetrics {
  private readonly meter = metrics.getMeter('mesh.jobs');
  private seen: Figures = [];
  private readonly running = new Map<string, number>();
  private readonly ends = this.meter.createCounter('mesh.job.runs', {
    description: 'Runs of a job, by how they ended.',
  });

  constructor(private readonly queue: JobQueue) {
    this.gauge('mesh.job.waiting', 'Jobs that are due and that nobody has taken.', (one) => one.due);
    this.gauge('mesh.job.oldest.seconds', 'How long the oldest of these has been due.', (one) => one.oldestDue);
    this.gauge(
      'mesh.job.failing',
      'Jobs that have failed, or whose worker died, since they last succeeded.',
      (one) => one.failing,
    );
    this.meter
      .createObservableGauge('mesh.job.running', { description: 'Jobs that this process works on just now.' })
      .addCallback((result) => {
        for (const [kind, count] of this.running) result.observe(count, { kind });
      });
    this.gauge('mesh.job.leased', 'Jobs that a worker holds.', (one) => one.leased);
  }

  runs(kind: string): void {
    this.running.set(kind, (this.running.get(kind) ?? 0) + 1);
  }

  ran(kind: string, end: 'done' | 'again' | 'failed' | 'lost'): void {
    this.running.set(kind, this.running.get(kind)! - 1);
    this.ends.add(1, { kind, end });
  }

  /** Throws when the database cannot be asked; what was seen before stands then. */
  async look(): Promise<void> {
    this.seen = await this.queue.figures();
  }

  private gauge(name: string, description: string, read: (one: Figures[number]) => number): void {
    this.meter.createObservableGauge(name, { description }).addCallback((result) => {
      for (const one of this.seen) result.observe(read(one), { kind: one.kind });
    });
  }
}
