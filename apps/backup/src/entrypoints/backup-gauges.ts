import { Injectable, type OnApplicationBootstrap, type OnModuleDestroy } from '@nestjs/common';
import { restoreModes } from '#contracts/index.js';
import { Log } from '#observability/index.js';
import { planNames } from '#odoo/index.js';
import { Figures } from '#persistence/index.js';
import { type BackupFigures, Figured, type HeldBack, ShardSnapshots } from '../application/ports.js';
import { backupStates } from '../domain/backup.js';

const none = { instances: 0, late: 0, unproved: 0, oldestUnsaved: 0 };

/** What is saved and what is not, by plan; which instances these are the API says. */
@Injectable()
export class BackupGauges implements OnApplicationBootstrap, OnModuleDestroy {
  private readonly figures: Figures<BackupFigures>;
  private readonly snapshots: Figures<ReadonlyMap<string, HeldBack>>;

  constructor(figured: Figured, snapshots: ShardSnapshots, log: Log) {
    const onTrouble = (what: string, error: unknown) => log.warn(what, { error });
    this.figures = new Figures('backups', () => figured.figures(), onTrouble);
    this.snapshots = new Figures('snapshots on shards', () => snapshots.oldest(), onTrouble);
    this.snapshots.gauge(
      'mesh.shard.snapshot.oldest.seconds',
      'For how long the oldest transaction on a shard has looked at the same moment.',
      (seen) => [...seen].map(([shard, { seconds }]) => [seconds, { shard }]),
    );
    this.snapshots.gauge(
      'mesh.shard.snapshot.oldest.transactions',
      'How many transactions have begun on the shard since that moment.',
      (seen) => [...seen].map(([shard, { transactions }]) => [transactions, { shard }]),
    );
    const perPlan = (name: string, description: string, read: (one: typeof none) => number) =>
      this.figures.gauge(name, description, ({ plans }) =>
        [...new Set([...planNames(), ...plans.map(({ plan }) => plan)])].map((name) => [
          read(plans.find(({ plan }) => plan === name) ?? none),
          { plan: name },
        ]),
      );
    perPlan('mesh.backup.instances', 'Instances that are to be backed up.', (one) => one.instances);
    perPlan(
      'mesh.backup.instances.late',
      'Of these, those with work that no good backup has for longer than their plan promises.',
      (one) => one.late,
    );
    perPlan(
      'mesh.backup.instances.unproved',
      'Of these, those without a backup that was restored as a proof within twice the time that their plan promises.',
      (one) => one.unproved,
    );
    perPlan(
      'mesh.backup.unsaved.oldest.seconds',
      'How old the oldest work is that no good backup has.',
      (one) => one.oldestUnsaved,
    );
    const { figures } = this;
    figures.gauge('mesh.backups', 'Backups by how far they are.', ({ states }) =>
      backupStates.map((state) => [states.get(state) ?? 0, { state }]),
    );
    figures.gauge('mesh.backups.held', 'Complete backups that somebody keeps.', ({ held }) => held);
    figures.gauge(
      'mesh.backups.bad',
      'Backups of the last day of which a proof has found that they are bad.',
      ({ bad }) => bad,
    );
    figures.gauge(
      'mesh.backup.instances.files.missing',
      'Instances that have lost files which their database names, by their newest proof.',
      ({ filesMissing }) => filesMissing,
    );
    figures.gauge(
      'mesh.backups.waiting.oldest.seconds',
      'How long the oldest backup has waited for its turn.',
      ({ oldest }) => oldest.waiting,
    );
    figures.gauge(
      'mesh.backups.expiring.oldest.seconds',
      'How long the oldest backup whose time is over has not gone.',
      ({ oldest }) => oldest.expiring,
    );
    figures.gauge('mesh.restores.running', 'Restores and proofs that have not come to an end.', ({ restores }) =>
      [...restoreModes, 'proof'].map((mode) => [restores.get(mode) ?? 0, { mode }]),
    );
    figures.gauge(
      'mesh.restores.oldest.seconds',
      'How long ago the oldest restore was asked for that has not come to an end.',
      ({ oldest }) => oldest.restore,
    );
  }

  onApplicationBootstrap(): void {
    this.figures.start();
    this.snapshots.start();
  }

  async onModuleDestroy(): Promise<void> {
    await Promise.all([this.figures.stop(), this.snapshots.stop()]);
  }
}
