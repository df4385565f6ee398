import { Injectable } from '@nestjs/common';
import { newId } from '#contracts/index.js';
import { timeSpentAtFirst } from '#footprints/deadline.js';
import { JobQueue, type Transaction } from '#persistence/index.js';
import type { Restore } from '../domain/restore.js';
import { Restores } from './ports.js';

/** A row and a job: what becomes of them is the reconciler's. */
@Injectable()
export class BeginRestore {
  constructor(
    private readonly restores: Restores,
    private readonly jobs: JobQueue,
  ) {}

  async of(
    tx: Transaction,
    asked: Pick<Restore, 'restoreId' | 'instanceId' | 'backupId' | 'mode' | 'to' | 'requestedBy' | 'reason'> & {
      readonly cause: Pick<Restore, 'traceparent' | 'correlationId' | 'requestId'>;
      /** From now on; absent: at once. */
      readonly inMs?: number;
      readonly progress?: Restore['progress'];
    },
  ): Promise<void> {
    const { cause, inMs = 0, progress = {}, ...what } = asked;
    const begins = new Date(Date.now() + inMs);
    await this.restores.save(tx, {
      ...{ ...what, ...cause, status: 'active', stage: 0, footprintId: newId(), progress },
      ...{ startedAt: begins, condition: null, ...timeSpentAtFirst(begins) },
    });
    const { restoreId: key, mode } = what;
    const priority = mode === 'proof' ? 'bulk' : 'interactive';
    await this.jobs.ask(tx, { kind: 'restore', key, priority, traceparent: cause.traceparent ?? undefined, inMs });
  }
}
