import { Injectable } from '@nestjs/common';
import { Outbox } from '#messaging/index.js';
import { JobQueue, type Lease, type Outcome } from '#persistence/index.js';
import type { Backup } from '../domain/backup.js';
import { policyOf } from '../domain/policy.js';
import { needs, type Restore } from '../domain/restore.js';
import { type Complete, expiring } from '../domain/retention.js';
import { Backups, Expiries, Instances, Restores } from './ports.js';

const lookAgainMs = 3_600_000;
const pageSize = 500;
/** Backups that have gone, or never came to be, are of use for a while to who looks why something was so. */
const keptForDays = 90;

/** Each hour: marks the backups whose time is over. From then on nobody can restore or hold them; another one removes them. */
@Injectable()
export class ExpireBackups {
  constructor(
    private readonly expiries: Expiries,
    private readonly instances: Instances,
    private readonly backups: Backups,
    private readonly restores: Restores,
    private readonly outbox: Outbox,
    private readonly jobs: JobQueue,
  ) {}

  async reconcile(lease: Lease): Promise<Outcome> {
    let after: string | undefined;
    while (!lease.signal.aborted) {
      const page = await this.expiries.instances(after, pageSize);
      for (const instanceId of page) {
        if (lease.signal.aborted) return { again: 0 };
        await this.expire(lease, instanceId);
      }
      if (page.length < pageSize) break;
      after = page.at(-1);
    }
    await this.expiries.forget(keptForDays);
    return { again: lookAgainMs };
  }

  private async expire(lease: Lease, instanceId: string): Promise<void> {
    await this.outbox.transaction({}, async (tx) => {
      await lease.hold(tx);
      // As whoever asks for a restore: the instance, its backups, what is open; so it is seen here, or sees what is done here.
      const instance = await this.instances.lock(tx, instanceId);
      if (!instance) return;
      const backups = await this.expiries.lockCompleted(tx, instanceId);
      const open = await this.restores.lockOpenOf(tx, instanceId);
      const endedAt = instance.state === 'terminated' ? (instance.since ?? undefined) : undefined;
      const policy = policyOf(instance.plan.name);
      const gone = expiring(
        policy,
        backups.map((one) => completeOf(one, open)),
        new Date(),
        endedAt,
      );
      for (const { backupId, reason } of gone) {
        const backup = backups.find((one) => one.backupId === backupId)!;
        const condition = { reason, message: words[reason] };
        await this.backups.save(tx, { ...backup, state: 'expiring', expiresAt: new Date(), condition });
      }
      if (gone.length > 0) await this.jobs.ask(tx, { kind: 'expired', key: instanceId, priority: 'bulk' });
    });
  }
}

const words = {
  NEWER_ONES_ARE_KEPT: 'its plan keeps newer ones in its place',
  INSTANCE_ENDED: 'the instance was destroyed, and the time for which its backups are kept is over',
} as const;

function completeOf({ backupId, why, takenAt, verified, fault, held }: Backup, open: readonly Restore[]): Complete {
  return {
    ...{ backupId, why, takenAt: takenAt!, held: held !== null },
    proof: fault ? 'bad' : verified?.depth,
    inUse: open.some((one) => needs(one, backupId)),
  };
}
