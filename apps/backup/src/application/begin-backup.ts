import { Injectable } from '@nestjs/common';
import { timeSpentAtFirst } from '#footprints/deadline.js';
import { JobQueue, type Transaction } from '#persistence/index.js';
import type { Source, Why } from '../domain/backup.js';
import type { Instance } from '../domain/instance.js';
import { Backups, Instances } from './ports.js';

/** A row and a job: what becomes of them is the reconciler's. */
@Injectable()
export class BeginBackup {
  constructor(
    private readonly instances: Instances,
    private readonly backups: Backups,
    private readonly jobs: JobQueue,
  ) {}

  /** Of an instance that has something to back up. */
  async of(
    tx: Transaction,
    instance: Instance,
    asked: {
      readonly backupId: string;
      readonly why: Why;
      readonly token: string | null;
      readonly cause: {
        readonly traceparent: string | null;
        readonly correlationId: string;
        readonly requestId: string | null;
      };
    },
  ): Promise<void> {
    const { instanceId, customerId } = instance;
    const { backupId, why, token, cause } = asked;
    const source = await this.sourceOf(instance);
    const now = new Date();
    await this.backups.save(tx, {
      ...{ backupId, instanceId, customerId, footprintId: source.footprintId, why, token, source, state: 'waiting' },
      ...{ dumped: null, saved: null, manifest: null, verified: null, fault: null, held: null, condition: null },
      ...{ requestedAt: now, takenAt: null, expiresAt: null, ...timeSpentAtFirst(now), ...cause },
    });
    const priority = why === 'scheduled' ? 'bulk' : 'normal';
    const traceparent = cause.traceparent ?? undefined;
    await this.jobs.ask(tx, { kind: 'backup', key: backupId, priority, traceparent });
  }

  /** Where its data is now. */
  async sourceOf({ live, placed }: Instance): Promise<Source> {
    const { footprintId, database, volumeClaim, image } = live!;
    const place = footprintId === placed.footprintId ? placed : await this.instances.footprint(footprintId);
    if (!place) throw new Error(`footprint ${footprintId} is not known yet`);
    const { cell, namespace, databaseShard, template } = place;
    return { footprintId, cell, namespace, databaseShard, database, volumeClaim, template: { ...template, image } };
  }
}
