import type { FactoryProvider } from '@nestjs/common';
import type { Log } from '#observability/index.js';
import { JobQueue, JobWorker } from '#persistence/index.js';
import { ReconcileBackup } from '../application/reconcile-backup.js';
import { ReconcileProof } from '../application/reconcile-proof.js';
import { ReconcileRestore } from '../application/reconcile-restore.js';
import { ReconcileSnapshots } from '../application/reconcile-snapshots.js';

/** Which reconciler does which kind of job. */
export const backupJobs = (leaseMs: number, log: Log): FactoryProvider<JobWorker> => ({
  provide: JobWorker,
  inject: [JobQueue, ReconcileBackup, ReconcileProof, ReconcileRestore, ReconcileSnapshots],
  useFactory: (
    queue: JobQueue,
    backup: ReconcileBackup,
    proof: ReconcileProof,
    restore: ReconcileRestore,
    snapshots: ReconcileSnapshots,
  ) =>
    new JobWorker(queue, {
      leaseMs,
      reconcilers: {
        backup: (lease) => backup.reconcile(lease),
        proof: (lease) => proof.reconcile(lease),
        restore: (lease) => restore.reconcile(lease),
        snapshots: (lease) => snapshots.reconcile(lease),
      },
      onError: (job, error) => log.warn('job failed, comes again', { kind: job.kind, key: job.key, error }),
      onStuck: (jobs) => log.warn('jobs are stuck', { jobs }),
    }),
});
