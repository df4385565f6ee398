import type { FactoryProvider } from '@nestjs/common';
import type { Log } from '#observability/index.js';
import { type Database, JobQueue, JobWorker } from '#persistence/index.js';
import { ExpireBackups } from '../application/expire-backups.js';
import { ReconcileBackup } from '../application/reconcile-backup.js';
import { ReconcileExpired } from '../application/reconcile-expired.js';
import { ReconcileProof } from '../application/reconcile-proof.js';
import { ReconcileRestore } from '../application/reconcile-restore.js';
import { ReconcileSnapshots } from '../application/reconcile-snapshots.js';
import { ScheduleBackups } from '../application/schedule-backups.js';

/** Which reconciler does which kind of job. */
export const backupJobs = (leaseMs: number, log: Log): FactoryProvider<JobWorker> => ({
  provide: JobWorker,
  inject: [
    JobQueue,
    ReconcileBackup,
    ReconcileProof,
    ReconcileRestore,
    ReconcileSnapshots,
    ScheduleBackups,
    ExpireBackups,
    ReconcileExpired,
  ],
  useFactory: (
    queue: JobQueue,
    backup: ReconcileBackup,
    proof: ReconcileProof,
    restore: ReconcileRestore,
    snapshots: ReconcileSnapshots,
    schedule: ScheduleBackups,
    expire: ExpireBackups,
    expired: ReconcileExpired,
  ) =>
    new JobWorker(queue, {
      leaseMs,
      // Dumps and proofs take long, and there may be as many as there are slots.
      kept: 4,
      reconcilers: {
        backup: (lease) => backup.reconcile(lease),
        proof: (lease) => proof.reconcile(lease),
        restore: (lease) => restore.reconcile(lease),
        snapshots: (lease) => snapshots.reconcile(lease),
        schedule: (lease) => schedule.reconcile(lease),
        expiry: (lease) => expire.reconcile(lease),
        expired: (lease) => expired.reconcile(lease),
      },
      onError: (job, error) => log.warn('job failed, comes again', { kind: job.kind, key: job.key, error }),
      onStuck: (jobs) => log.warn('jobs are stuck', { jobs }),
    }),
});

/** What nobody asks for, because it is always to be done. */
export async function askForStandingJobs(database: Database, queue: JobQueue): Promise<void> {
  await database.transaction(async (tx) => {
    for (const kind of ['schedule', 'expiry']) await queue.ask(tx, { kind, key: 'all', priority: 'bulk' });
  });
}
