import { Injectable } from '@nestjs/common';
import { BackupExpired } from '#contracts/index.js';
import { Outbox } from '#messaging/index.js';
import { Log } from '#observability/index.js';
import type { Lease, Outcome } from '#persistence/index.js';
import type { Backup } from '../domain/backup.js';
import { keysOf } from '../domain/keys.js';
import { BackupSettings, Backups, Expiries, ObjectLocked, ObjectStore } from './ports.js';
import { SweepContents } from './sweep-contents.js';

const waitForBackupMs = 30_000;
const waitForLockMs = 3_600_000;

/**
 * Removes what is left of an instance's backups whose time is over: first the manifest of each, so that whatever happens
 * afterwards there is no half a backup, then its other objects, then the contents that no other backup names, then it says
 * that they are gone. A run that dies anywhere is taken up by the next one, from the beginning.
 */
@Injectable()
export class ReconcileExpired {
  constructor(
    private readonly expiries: Expiries,
    private readonly backups: Backups,
    private readonly store: ObjectStore,
    private readonly contents: SweepContents,
    private readonly outbox: Outbox,
    private readonly settings: BackupSettings,
    private readonly log: Log,
  ) {}

  async reconcile(lease: Lease): Promise<Outcome> {
    const instanceId = lease.key;
    const over = await this.expiries.expiring(instanceId);
    if (over.length === 0) return 'done';
    // Whoever had the lease before may have died in the middle of it, and backups wait for that.
    await this.endSweep(lease, instanceId);
    const gone: Backup[] = [];
    for (const backup of over) if (await this.remove(lease, backup)) gone.push(backup);
    if (gone.length === 0) return { again: waitForLockMs };
    if (!(await this.sweep(lease, gone[0]!))) return { again: waitForBackupMs };
    await this.outbox.transaction({}, async (ctx) => {
      await lease.hold(ctx);
      for (const { backupId, instanceId, footprintId, why } of gone) {
        const current = await this.backups.lock(ctx, backupId);
        if (current?.state !== 'expiring') continue;
        await this.backups.save(ctx, { ...current, state: 'expired', condition: null });
        const takenAt = current.takenAt!.toISOString();
        const expiredAt = new Date().toISOString();
        await ctx.publish(BackupExpired, { backupId, instanceId, footprintId, why, takenAt, expiredAt });
      }
    });
    return gone.length < over.length ? { again: waitForLockMs } : 'done';
  }

  /** @returns false: the store does not give it up yet. */
  private async remove(lease: Lease, backup: Backup): Promise<boolean> {
    const { manifest, backup: prefix } = keysOf(this.settings.meshName, backup);
    await lease.check();
    try {
      await this.store.remove([manifest], lease.fence);
      const others: string[] = [];
      for await (const { key } of this.store.list(prefix)) others.push(key);
      await this.store.remove(others, lease.fence);
    } catch (error) {
      if (!(error instanceof ObjectLocked)) throw error;
      this.log.info('the store does not give up a backup yet', { backupId: backup.backupId, message: error.message });
      return false;
    }
    await this.store.removeUnfinished(prefix, lease.fence);
    return true;
  }

  /** @returns false: a backup of the instance is under way. */
  private async sweep(lease: Lease, whose: Backup): Promise<boolean> {
    const { instanceId } = whose;
    const begun = await this.outbox.transaction({}, async (tx) => {
      await lease.hold(tx, 'note');
      return await this.expiries.beginSweep(tx, instanceId);
    });
    if (!begun) return false;
    try {
      await lease.check();
      await this.contents.sweep(whose, lease.fence, lease.signal);
    } finally {
      // Also when it could not be done: backups matter more. Whoever has lost the lease leaves that to its heir.
      await this.endSweep(lease, instanceId);
    }
    return true;
  }

  private async endSweep(lease: Lease, instanceId: string): Promise<void> {
    await this.outbox.transaction({}, async (tx) => {
      await lease.hold(tx, 'note');
      await this.expiries.endSweep(tx, instanceId);
    });
  }
}
