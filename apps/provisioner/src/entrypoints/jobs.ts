import type { FactoryProvider } from '@nestjs/common';
import type { Log } from '#observability/index.js';
import { Database, JobQueue, JobWorker } from '#persistence/index.js';
import { ReconcileFootprint } from '../application/reconcile-footprint.js';
import { ReconcileTemplates } from '../application/reconcile-templates.js';

/** Which reconciler does which kind of job. */
export const provisionerJobs = (leaseMs: number, log: Log): FactoryProvider<JobWorker> => ({
  provide: JobWorker,
  inject: [JobQueue, ReconcileFootprint, ReconcileTemplates],
  useFactory: (queue: JobQueue, footprint: ReconcileFootprint, templates: ReconcileTemplates) =>
    new JobWorker(queue, {
      leaseMs,
      reconcilers: {
        footprint: (lease) => footprint.reconcile(lease),
        templates: (lease) => templates.reconcile(lease),
      },
      onError: (job, error) => log.warn('job failed, comes again', { kind: job.kind, key: job.key, error }),
      onStuck: (jobs) => log.warn('jobs are stuck', { jobs }),
    }),
});

/** What nobody asks for, because it is always to be done. */
export async function askForStandingJobs(database: Database, queue: JobQueue): Promise<void> {
  await database.transaction((tx) => queue.ask(tx, { kind: 'templates', key: 'shards', priority: 'bulk' }));
}
