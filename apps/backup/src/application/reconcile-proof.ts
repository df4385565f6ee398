import { Injectable } from '@nestjs/common';
import { BackupFailed, BackupVerified } from '#contracts/index.js';
import { Outbox } from '#messaging/index.js';
import { JobQueue, type Lease, type Outcome } from '#persistence/index.js';
import { faultOf, type Verified } from '../domain/backup.js';
import { Hopeless } from '../domain/hopeless.js';
import { isProvedBad } from '../domain/proof.js';
import { BackupMetrics } from './backup-metrics.js';
import { Backups, TenantTargets } from './ports.js';
import { ReadBackup } from './read-backup.js';
import { askToSetAside } from './set-aside-damaged.js';

/** How many files of a backup are read. */
const sampleSize = 20;

/** The light proof: all that a backup has is there and is what was sent, but for most of its files, which are only there. */
@Injectable()
export class ReconcileProof {
  constructor(
    private readonly backups: Backups,
    private readonly read: ReadBackup,
    private readonly targets: TenantTargets,
    private readonly outbox: Outbox,
    private readonly jobs: JobQueue,
    private readonly metrics: BackupMetrics,
  ) {}

  async reconcile(lease: Lease): Promise<Outcome> {
    const backup = await this.backups.get(lease.key);
    // Once is enough; whoever hurries it again does so for something else of the same id.
    if (backup?.state !== 'completed' || backup.verified || backup.fault) return 'done';
    const { backupId, instanceId, footprintId, why, traceparent, correlationId, requestId } = backup;
    const cause = {
      traceparent: traceparent ?? undefined,
      correlationId,
      ...(requestId && { causationId: requestId }),
    };
    const about = { backupId, instanceId, footprintId, why };
    const begunAt = new Date();
    try {
      const manifest = await this.read.manifest(backup);
      const { database, files } = manifest;
      await this.read.whole(database.key, database, lease.signal, (dump) => this.targets.list(dump, lease.signal));
      await this.read.text(database.fingerprint.key, database.fingerprint.sha256);
      if (files) await this.read.sample(files, sampleSize, lease.signal);
      const at = new Date().toISOString();
      const seen = { rows: database.rows, files: files?.files ?? 0, filesSeen: files ? 'read' : 'simulated' } as const;
      const verified: Verified = { depth: 'light', offSite: true, rtoMs: null, at, ...seen };
      await this.outbox.transaction(cause, async (ctx) => {
        await lease.hold(ctx);
        const current = await this.backups.lock(ctx, backupId);
        // A deeper proof may have been quicker.
        if (current?.state !== 'completed' || current.verified?.depth === 'full') return;
        await this.backups.save(ctx, { ...current, verified });
        await ctx.publish(BackupVerified, { ...about, depth: 'light', offSite: true, ...seen, verifiedAt: at });
        ctx.afterCommit(() => this.metrics.proofEnded('light', 'verified', begunAt));
      });
    } catch (error) {
      // What is in the way says nothing about the backup.
      if (!(error instanceof Hopeless) || !isProvedBad(error.code, 1)) throw error;
      const { code, message, damaged } = error;
      await this.outbox.transaction(cause, async (ctx) => {
        await lease.hold(ctx);
        const current = await this.backups.lock(ctx, backupId);
        if (current?.state !== 'completed') return;
        await this.backups.save(ctx, { ...current, fault: faultOf(error, damaged) });
        if (damaged.length > 0) await askToSetAside(ctx, this.jobs, current);
        await ctx.publish(BackupFailed, { ...about, code, message, fault: 'platform' });
        ctx.afterCommit(() => this.metrics.proofEnded('light', 'bad', begunAt));
      });
    }
    return 'done';
  }
}
