import { Injectable } from '@nestjs/common';
import { newId } from '#contracts/index.js';
import { JobQueue, type Transaction } from '#persistence/index.js';
import type { Backup } from '../domain/backup.js';
import { depthOfProof } from '../domain/proof.js';
import { BeginRestore } from './begin-restore.js';

/** A backup that was never restored is a hope: each is proved, as deep as what hangs on it. */
@Injectable()
export class ProveBackup {
  constructor(
    private readonly restore: BeginRestore,
    private readonly jobs: JobQueue,
  ) {}

  async ask(tx: Transaction, backup: Backup): Promise<void> {
    const { backupId, instanceId, traceparent, correlationId, requestId } = backup;
    const cause = { traceparent, correlationId, requestId };
    if (depthOfProof(backup) === 'light')
      return await this.jobs.ask(tx, { kind: 'proof', key: backupId, traceparent: traceparent ?? undefined });
    const asked = { requestedBy: 'backup', reason: `a proof of a backup (${backup.why})`, to: null };
    await this.restore.of(tx, { restoreId: newId(), instanceId, backupId, mode: 'proof', ...asked, cause });
  }
}
