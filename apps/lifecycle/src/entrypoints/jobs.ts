import type { FactoryProvider } from '@nestjs/common';
import type { Log } from '#observability/index.js';
import { JobQueue, JobWorker } from '#persistence/index.js';
import { ReconcileInstance } from '../application/reconcile-instance.js';
import { RefuseUnknown } from '../application/refuse-unknown.js';

/** Which reconciler does which kind of job. */
export const lifecycleJobs = (leaseMs: number, log: Log): FactoryProvider<JobWorker> => ({
  provide: JobWorker,
  inject: [JobQueue, ReconcileInstance, RefuseUnknown],
  useFactory: (queue: JobQueue, instance: ReconcileInstance, unknown: RefuseUnknown) =>
    new JobWorker(queue, {
      leaseMs,
      reconcilers: {
        instance: (lease) => instance.reconcile(lease),
        'unknown-instance': (lease) => unknown.reconcile(lease),
      },
      onError: (job, error) => log.warn('job failed, comes again', { kind: job.kind, key: job.key, error }),
      onStuck: (jobs) => log.warn('jobs are stuck', { jobs }),
    }),
});
