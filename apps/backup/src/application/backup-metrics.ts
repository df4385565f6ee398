import { Injectable } from '@nestjs/common';
import { metrics } from '@opentelemetry/api';
import { backupReasons, restoreModes } from '#contracts/index.js';
import type { Why } from '../domain/backup.js';
import type { ProofDepth } from '../domain/schedule.js';

type Mode = (typeof restoreModes)[number];

/** From a small tenant's dump to one of hours. */
const buckets = [1, 2.5, 5, 10, 30, 60, 300, 900, 1_800, 3_600, 7_200, 21_600];
const depths = ['full', 'light'] as const;

/**
 * How backups, proofs and restores end; never by instance. `failed`: it was given up; `bad`: what a proof looked at is not what
 * was saved.
 */
@Injectable()
export class BackupMetrics {
  private readonly meter = metrics.getMeter('mesh.backup');
  private readonly backups = this.meter.createCounter('mesh.backup.outcomes', {
    description: 'Backups that came to an end, by why they were made.',
  });
  private readonly backupTimes = this.duration(
    'mesh.backup.duration.seconds',
    'From when a backup was asked for to its end.',
  );
  private readonly bytes = this.meter.createCounter('mesh.backup.saved.bytes', {
    description: 'What complete backups hold: their dumps, and their files, those of earlier backups too.',
  });
  private readonly proofs = this.meter.createCounter('mesh.proof.outcomes', {
    description: 'Proofs of backups that came to an end, by how deep they went.',
  });
  private readonly proofTimes = this.duration('mesh.proof.duration.seconds', 'How long a proof took.');
  private readonly restores = this.meter.createCounter('mesh.restore.outcomes', {
    description: 'Restores that came to an end.',
  });
  private readonly restoreTimes = this.duration(
    'mesh.restore.duration.seconds',
    'From when a restore was asked for to its end.',
  );

  constructor() {
    for (const why of backupReasons)
      for (const outcome of ['completed', 'failed']) this.backups.add(0, { why, outcome });
    for (const what of ['database', 'files']) this.bytes.add(0, { what });
    for (const depth of depths)
      for (const outcome of ['verified', 'bad', 'failed']) this.proofs.add(0, { depth, outcome });
    for (const mode of restoreModes)
      for (const outcome of ['completed', 'failed']) this.restores.add(0, { mode, outcome });
  }

  backupCompleted(
    why: Why,
    askedAt: Date,
    saved: { readonly databaseBytes: number; readonly filesBytes: number },
  ): void {
    this.backups.add(1, { why, outcome: 'completed' });
    this.backupTimes.record(secondsSince(askedAt), { outcome: 'completed' });
    this.bytes.add(saved.databaseBytes, { what: 'database' });
    this.bytes.add(saved.filesBytes, { what: 'files' });
  }

  backupFailed(why: Why, askedAt: Date): void {
    this.backups.add(1, { why, outcome: 'failed' });
    this.backupTimes.record(secondsSince(askedAt), { outcome: 'failed' });
  }

  proofEnded(depth: ProofDepth, outcome: 'verified' | 'bad' | 'failed', begunAt: Date): void {
    this.proofs.add(1, { depth, outcome });
    this.proofTimes.record(secondsSince(begunAt), { depth, outcome });
  }

  restoreEnded(mode: Mode, outcome: 'completed' | 'failed', askedAt: Date): void {
    this.restores.add(1, { mode, outcome });
    this.restoreTimes.record(secondsSince(askedAt), { mode, outcome });
  }

  private duration(name: string, description: string) {
    return this.meter.createHistogram(name, { description, advice: { explicitBucketBoundaries: buckets } });
  }
}

function secondsSince(moment: Date): number {
  return Math.max(0, Date.now() - moment.getTime()) / 1_000;
}
