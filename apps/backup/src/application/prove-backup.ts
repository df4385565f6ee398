import { Injectable } from '@nestjs/common';
import { newId } from '#contracts/index.js';
import { JobQueue, type Transaction } from '#persistence/index.js';
import { type Backup, faultOf } from '../domain/backup.js';
import { policyOf } from '../domain/policy.js';
import type { Progress } from '../domain/restore.js';
import { type ProofDepth, proofDepth } from '../domain/schedule.js';
import { BeginRestore } from './begin-restore.js';
import { Backups, Instances, Schedules } from './ports.js';

/** After a proof that could not be brought to its end; then twice as long each time. */
const againMs = 10 * 60_000;
const longestMs = 24 * 3_600_000;

/** A backup that was never restored is a hope: each is proved, as deep as what hangs on it. */
@Injectable()
export class ProveBackup {
  constructor(
    private readonly backups: Backups,
    private readonly instances: Instances,
    private readonly schedules: Schedules,
    private readonly restore: BeginRestore,
    private readonly jobs: JobQueue,
  ) {}

  async ask(tx: Transaction, backup: Backup): Promise<void> {
    const { backupId, traceparent } = backup;
    if ((await this.depthOf(tx, backup)) === 'light')
      await this.jobs.ask(tx, { kind: 'proof', key: backupId, traceparent: traceparent ?? undefined });
    else await this.restoreIt(tx, backup);
  }

  /**
   * It could not be restored, for reasons that are not its own; so many times in a row by now. Not for ever: beside what
   * was destroyed there is no place, and one whose time is over needs no proof.
   */
  async askAgain(tx: Transaction, backup: Backup, failures: number): Promise<void> {
    const instance = await this.instances.get(backup.instanceId);
    if (backup.state !== 'completed' || instance?.state === 'terminated') return;
    await this.restoreIt(tx, backup, Math.min(againMs * 2 ** (failures - 1), longestMs), { failures });
  }

  /**
   * A backup of the instance was completed, and has brought what was damaged in the store, if the instance still has it. Those
   * that were bad for that are restored once more, each once: what then is equal is good again.
   */
  async askForHealed(tx: Transaction, instanceId: string): Promise<void> {
    for (const backup of await this.backups.lockThatMayHeal(tx, instanceId)) {
      await this.backups.save(tx, { ...backup, fault: faultOf(backup.fault!) });
      await this.restoreIt(tx, backup);
    }
  }

  private async restoreIt(tx: Transaction, backup: Backup, inMs = 0, progress: Progress = {}): Promise<void> {
    const { backupId, instanceId, why, traceparent, correlationId, requestId } = backup;
    const asked = { requestedBy: 'backup', reason: `a proof of a backup (${why})`, to: null };
    const cause = { traceparent, correlationId, requestId };
    await this.restore.of(tx, {
      restoreId: newId(),
      instanceId,
      backupId,
      mode: 'proof',
      ...asked,
      cause,
      inMs,
      progress,
    });
  }

  private async depthOf(tx: Transaction, { instanceId, why, takenAt }: Backup): Promise<ProofDepth> {
    const instance = await this.instances.get(instanceId);
    if (!instance) return 'full';
    const about = { instanceId, why, takenAt: takenAt!, policy: policyOf(instance.plan.name) };
    return proofDepth(about, await this.schedules.provedAt(tx, instanceId));
  }
}
