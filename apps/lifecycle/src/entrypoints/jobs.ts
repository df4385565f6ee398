import type { FactoryProvider } from '@nestjs/common';
import type { Log } from '#observability/index.js';
import { type Database, JobQueue, JobWorker } from '#persistence/index.js';
import { ForgetOperations } from '../application/forget-operations.js';
import { ReconcileInstance } from '../application/reconcile-instance.js';
import { RefuseUnknown } from '../application/refuse-unknown.js';

/** Which reconciler does which kind of job. */
export const lifecycleJobs = (leaseMs: number, log: Log): FactoryProvider<JobWorker> => ({
  provide: JobWorker,
  inject: [JobQueue, ReconcileInstance, RefuseUnknown, ForgetOperations],
  useFactory: (queue: JobQueue, instance: ReconcileInstance, unknown: RefuseUnknown, forget: ForgetOperations) =>
    new JobWorker(queue, {
      leaseMs,
      reconcilers: {
        instance: (lease) => instance.reconcile(lease),
        'unknown-instance': (lease) => unknown.reconcile(lease),
        'ended-operations': () => forget.reconcile(),
      },
      onError: (job, error) => log.warn('job failed, comes again', { kind: job.kind, key: job.key, error }),
      onStuck: (jobs) => log.warn('jobs are stuck', { jobs }),
    }),
});

/** What nobody asks for, because it is always to be done. */
export async function askForStandingJobs(database: Database, queue: JobQueue): Promise<void> {
  await database.transaction((tx) => queue.ask(tx, { kind: 'ended-operations', key: 'all', priority: 'bulk' }));
}
