import { Injectable } from '@nestjs/common';
import { BackupExpired } from '#contracts/index.js';
import { Outbox } from '#messaging/index.js';
import { Log } from '#observability/index.js';
import type { Lease, Outcome } from '#persistence/index.js';
import { type Backup, faultOf } from '../domain/backup.js';
import { keysOf } from '../domain/keys.js';
import { BackupSettings, Backups, Expiries, ObjectLocked, ObjectStore } from './ports.js';
import { SetAsideDamaged } from './set-aside-damaged.js';
import { SweepContents } from './sweep-contents.js';

const waitForBackupMs = 30_000;
/** What the store holds, and what cannot be read the same twice. */
const lookAgainMs = 3_600_000;

/**
 * Sets aside what proofs have found damaged of an instance, and removes what is left of its backups whose time is over:
 * first the manifest of each, so that whatever happens afterwards there is no half a backup, then its other objects, then
 * the contents that no other backup names, then it says that they are gone. A run that dies anywhere is taken up by the
 * next one, from the beginning.
 */
@Injectable()
export class ReconcileExpired {
  constructor(
    private readonly expiries: Expiries,
    private readonly backups: Backups,
    private readonly store: ObjectStore,
    private readonly contents: SweepContents,
    private readonly damaged: SetAsideDamaged,
    private readonly outbox: Outbox,
    private readonly settings: BackupSettings,
    private readonly log: Log,
  ) {}

  async reconcile(lease: Lease): Promise<Outcome> {
    const instanceId = lease.key;
    const over = await this.expiries.expiring(instanceId);
    const spoiled = await this.expiries.damaged(instanceId);
    if (over.length === 0 && spoiled.length === 0) return 'done';
    // Whoever had the lease before may have died in the middle of it, and backups wait for that.
    await this.endSweep(lease, instanceId);
    const gone: Backup[] = [];
    for (const backup of over) if (await this.remove(lease, backup)) gone.push(backup);
    if (gone.length === 0 && spoiled.length === 0) return { again: lookAgainMs };
    // Contents that the store holds are found again by the end of the next backup; of the last one by nobody but us.
    const isLast = gone.length > 0 && (await this.expiries.indexes(instanceId)).length === 0;
    const lockedUntil = Math.max(0, ...gone.map(({ saved }) => Date.parse(saved?.lockedUntil ?? '') || 0));
    if (isLast && lockedUntil > Date.now()) return await this.waitForTheStore(lease, gone, lockedUntil);
    let unsure: ReadonlySet<string> = new Set();
    let locked = 0;
    const alone = await this.whileNoneBegins(lease, instanceId, async () => {
      unsure = await this.setAside(lease, spoiled);
      if (gone[0]) ({ locked } = await this.contents.sweep(gone[0], lease.fence, lease.signal));
    });
    if (!alone) return { again: waitForBackupMs };
    if (isLast && locked > 0) return await this.waitForTheStore(lease, gone, Date.now() + lookAgainMs);
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
      for (const { backupId, fault } of spoiled) {
        const current = await this.backups.lock(ctx, backupId);
        if (!current?.fault) continue;
        const left = fault!.damaged!.filter((sha1) => unsure.has(sha1));
        const heals = left.length === 0 && { mayHeal: true as const };
        await this.backups.save(ctx, { ...current, fault: { ...faultOf(current.fault, left), ...heals } });
      }
    });
    return gone.length < over.length || unsure.size > 0 ? { again: lookAgainMs } : 'done';
  }

  private async waitForTheStore(lease: Lease, gone: readonly Backup[], until: number): Promise<Outcome> {
    const message = `the object store holds its files, looked at again ${new Date(until).toISOString()}`;
    const condition = { reason: 'FilesAreLocked', message };
    await this.outbox.transaction({}, async (ctx) => {
      await lease.hold(ctx, 'note');
      for (const { backupId } of gone) {
        const current = await this.backups.lock(ctx, backupId);
        if (current?.state === 'expiring') await this.backups.save(ctx, { ...current, condition });
      }
    });
    return { again: Math.max(0, until - Date.now()) };
  }

  /** @returns those of which nobody can say what they are. */
  private async setAside(lease: Lease, spoiled: readonly Backup[]): Promise<ReadonlySet<string>> {
    const unsure = new Set<string>();
    for (const sha1 of new Set(spoiled.flatMap(({ fault }) => fault!.damaged!))) {
      lease.signal.throwIfAborted();
      if (!(await this.damaged.setAside(spoiled[0]!, sha1, lease.fence, lease.signal))) unsure.add(sha1);
    }
    return unsure;
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

  /** @returns false: a backup of the instance is under way, and nothing was done. */
  private async whileNoneBegins(lease: Lease, instanceId: string, work: () => Promise<void>): Promise<boolean> {
    const begun = await this.outbox.transaction({}, async (tx) => {
      await lease.hold(tx, 'note');
      return await this.expiries.beginSweep(tx, instanceId);
    });
    if (!begun) return false;
    try {
      await lease.check();
      await work();
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
