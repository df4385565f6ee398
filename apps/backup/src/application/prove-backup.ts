import { Injectable } from '@nestjs/common';
import { newId } from '#contracts/index.js';
import { JobQueue, type Transaction } from '#persistence/index.js';
import type { Backup } from '../domain/backup.js';
import { policyOf } from '../domain/policy.js';
import { type ProofDepth, proofDepth } from '../domain/schedule.js';
import { BeginRestore } from './begin-restore.js';
import { Instances, Schedules } from './ports.js';

/** A backup that was never restored is a hope: each is proved, as deep as what hangs on it. */
@Injectable()
export class ProveBackup {
  constructor(
    private readonly instances: Instances,
    private readonly schedules: Schedules,
    private readonly restore: BeginRestore,
    private readonly jobs: JobQueue,
  ) {}

  async ask(tx: Transaction, backup: Backup): Promise<void> {
    const { backupId, instanceId, traceparent, correlationId, requestId } = backup;
    const cause = { traceparent, correlationId, requestId };
    if ((await this.depthOf(tx, backup)) === 'light')
      return await this.jobs.ask(tx, { kind: 'proof', key: backupId, traceparent: traceparent ?? undefined });
    const asked = { requestedBy: 'backup', reason: `a proof of a backup (${backup.why})`, to: null };
    await this.restore.of(tx, { restoreId: newId(), instanceId, backupId, mode: 'proof', ...asked, cause });
  }

  private async depthOf(tx: Transaction, { instanceId, why, takenAt }: Backup): Promise<ProofDepth> {
    const instance = await this.instances.get(instanceId);
    if (!instance) return 'full';
    const about = { instanceId, why, takenAt: takenAt!, policy: policyOf(instance.plan.name) };
    return proofDepth(about, await this.schedules.provedAt(tx, instanceId));
  }
}
