import { Injectable } from '@nestjs/common';
import { BackupExpired } from '#contracts/index.js';
import { Outbox } from '#messaging/index.js';
import { Log } from '#observability/index.js';
import type { Lease, Outcome } from '#persistence/index.js';
import { type Backup, faultOf, type SavedFiles } from '../domain/backup.js';
import { keysOf } from '../domain/keys.js';
import { weekMs } from '../domain/policy.js';
import { BackupSettings, Backups, Expiries, type HeldContents, ObjectLocked, ObjectStore } from './ports.js';
import { SetAsideDamaged } from './set-aside-damaged.js';
import { SweepContents } from './sweep-contents.js';

const waitForBackupMs = 30_000;
/** What the store holds, and what cannot be read the same twice. */
const lookAgainMs = 3_600_000;

/**
 * Sets aside what proofs have found damaged of an instance, and removes what is left of its backups whose time is over:
 * first the manifest of each, so that whatever happens afterwards there is no half a backup, then its other objects, then
 * the contents that no other backup names, then it says that they are gone. Contents that the store still holds are looked
 * for again when it does not. A run that dies anywhere is taken up by the next one, from the beginning.
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
    const held = await this.expiries.heldContents(instanceId);
    if (over.length === 0 && spoiled.length === 0 && !held) return 'done';
    // Whoever had the lease before may have died in the middle of it, and backups wait for that.
    await this.endSweep(lease, instanceId);
    const gone: Backup[] = [];
    for (const backup of over) if (await this.remove(lease, backup)) gone.push(backup);
    // Contents that the store is known to hold are left alone until it does not: each would cost it several requests.
    const free = gone.find(({ saved }) => lockedUntil(saved) <= Date.now());
    const whose = held && held.sweepAt <= new Date() ? { customerId: held.customerId, instanceId } : free;
    let unsure: ReadonlySet<string> = new Set();
    let heldUntil = 0;
    if (whose || spoiled.length > 0) {
      const alone = await this.whileNoneBegins(lease, instanceId, async () => {
        unsure = await this.setAside(lease, spoiled);
        if (whose) ({ heldUntil } = await this.contents.sweep(whose, lease.fence, lease.signal));
      });
      if (!alone) return { again: waitForBackupMs };
    }
    const sweepAt = Math.min(
      whose ? nextSweep(heldUntil) : (held?.sweepAt.getTime() ?? Number.POSITIVE_INFINITY),
      ...gone.map(({ saved }) => lockedUntil(saved)).filter((until) => until > Date.now()),
    );
    const { customerId } = held ?? over[0] ?? spoiled[0]!;
    const left = Number.isFinite(sweepAt) ? { customerId, sweepAt: new Date(sweepAt) } : undefined;
    await this.note(lease, gone, spoiled, unsure, left);
    const again = Math.min(
      gone.length < over.length || unsure.size > 0 ? lookAgainMs : Number.POSITIVE_INFINITY,
      sweepAt - Date.now(),
    );
    return Number.isFinite(again) ? { again: Math.max(0, again) } : 'done';
  }

  private async note(
    lease: Lease,
    gone: readonly Backup[],
    spoiled: readonly Backup[],
    unsure: ReadonlySet<string>,
    held: HeldContents | undefined,
  ): Promise<void> {
    await this.outbox.transaction({}, async (ctx) => {
      // Rows before the job, as who marks what is over locks them.
      const current = new Map<string, Backup | undefined>();
      for (const id of [...gone, ...spoiled].map(({ backupId }) => backupId).sort())
        current.set(id, await this.backups.lock(ctx, id));
      await lease.hold(ctx);
      await this.expiries.noteHeldContents(ctx, lease.key, held);
      for (const { backupId, instanceId, footprintId, why } of gone) {
        const now = current.get(backupId);
        if (now?.state !== 'expiring') continue;
        const expired: Backup = { ...now, state: 'expired', condition: null };
        current.set(backupId, expired);
        await this.backups.save(ctx, expired);
        const takenAt = now.takenAt!.toISOString();
        const expiredAt = new Date().toISOString();
        await ctx.publish(BackupExpired, { backupId, instanceId, footprintId, why, takenAt, expiredAt });
      }
      for (const { backupId, fault } of spoiled) {
        const now = current.get(backupId);
        if (!now?.fault) continue;
        const left = fault!.damaged!.filter((sha1) => unsure.has(sha1));
        const heals = left.length === 0 && { mayHeal: true as const };
        await this.backups.save(ctx, { ...now, fault: { ...faultOf(now.fault, left), ...heals } });
      }
    });
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

/** Unix time in ms; 0: the store locks none of them. */
function lockedUntil(saved: SavedFiles | null): number {
  return saved?.locked ? Date.parse(saved.locked.until) : 0;
}

/**
 * @param heldUntil of what the last one has met.
 * @returns Unix time in ms; Infinity: never.
 */
function nextSweep(heldUntil: number): number {
  return heldUntil === 0
    ? Number.POSITIVE_INFINITY
    : Math.max(Date.now() + 1_000, Math.min(heldUntil, Date.now() + weekMs));
}
