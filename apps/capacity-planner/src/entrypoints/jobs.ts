import type { FactoryProvider } from '@nestjs/common';
import type { Log } from '#observability/index.js';
import { type Database, JobQueue, JobWorker } from '#persistence/index.js';
import { ReconcileCell } from '../application/reconcile-cell.js';
import { ReconcileSpares } from '../application/reconcile-spares.js';
import { ReconcileWaiting } from '../application/reconcile-waiting.js';
import { ReportCell } from '../application/report-cell.js';

/** Which reconciler does which kind of job. */
export const plannerJobs = (leaseMs: number, log: Log): FactoryProvider<JobWorker> => ({
  provide: JobWorker,
  inject: [JobQueue, ReconcileCell, ReconcileWaiting, ReconcileSpares, ReportCell],
  useFactory: (
    queue: JobQueue,
    cell: ReconcileCell,
    waiting: ReconcileWaiting,
    spares: ReconcileSpares,
    report: ReportCell,
  ) =>
    new JobWorker(queue, {
      leaseMs,
      reconcilers: {
        cell: (lease) => cell.reconcile(lease),
        waiting: (lease) => waiting.reconcile(lease),
        spares: (lease) => spares.reconcile(lease),
        'cell-report': (lease) => report.reconcile(lease),
      },
      onError: (job, error) => log.warn('job failed, comes again', { kind: job.kind, key: job.key, error }),
      onStuck: (jobs) => log.warn('jobs are stuck', { jobs }),
    }),
});

/** What nobody asks for, because it is always to be done. */
export async function askForStandingJobs(database: Database, queue: JobQueue): Promise<void> {
  await database.transaction((tx) => queue.ask(tx, { kind: 'spares', key: 'pool', priority: 'bulk' }));
}
