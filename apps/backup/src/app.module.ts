import { type DynamicModule, Module } from '@nestjs/common';
import { KubernetesClient } from '#kubernetes/index.js';
import { MessagingModule, messagingMigrations, RepublishHandler } from '#messaging/index.js';
import { storageOf } from '#object-storage/index.js';
import { HealthModule, Log } from '#observability/index.js';
import { jobsMigrations, PersistenceModule } from '#persistence/index.js';
import { BackupMetrics } from './application/backup-metrics.js';
import { BeginBackup } from './application/begin-backup.js';
import { BeginRestore } from './application/begin-restore.js';
import { ExpireBackups } from './application/expire-backups.js';
import { FillFootprint } from './application/fill-footprint.js';
import { HoldBackupHandler, ReleaseBackupHandler } from './application/hold-backup.handlers.js';
import * as instances from './application/instance-facts.handlers.js';
import { LockContents } from './application/lock-contents.js';
import {
  BackupSettings,
  Backups,
  CellFiles,
  CellFilesSettings,
  Expiries,
  Figured,
  Instances,
  ObjectStore,
  Restores,
  Schedules,
  ShardSnapshots,
  TenantSources,
  TenantTargets,
} from './application/ports.js';
import { ProveBackup } from './application/prove-backup.js';
import { ReadBackup } from './application/read-backup.js';
import { ReconcileBackup } from './application/reconcile-backup.js';
import { ReconcileExpired } from './application/reconcile-expired.js';
import { ReconcileProof } from './application/reconcile-proof.js';
import { ReconcileRestore } from './application/reconcile-restore.js';
import { ReconcileSnapshots } from './application/reconcile-snapshots.js';
import { RequestBackupHandler } from './application/request-backup.handler.js';
import { RequestRestoreHandler } from './application/request-restore.handler.js';
import * as answers from './application/restore-facts.handlers.js';
import { ScheduleBackups } from './application/schedule-backups.js';
import { SetAsideDamaged } from './application/set-aside-damaged.js';
import { SweepContents } from './application/sweep-contents.js';
import type { Config } from './config.js';
import { BackupGauges } from './entrypoints/backup-gauges.js';
import { backupJobs } from './entrypoints/jobs.js';
import { subscriptions } from './entrypoints/subscriptions.js';
import { backupMigrations } from './infrastructure/backup.migration.js';
import { BackupEntity, BackupRepository } from './infrastructure/backup.repository.js';
import { ExpiryRepository } from './infrastructure/expiry.repository.js';
import { FiguresRepository } from './infrastructure/figures.repository.js';
import {
  FootprintEntity,
  InstanceEntity,
  InstanceRepository,
  PurgeEntity,
} from './infrastructure/instance.repository.js';
import { KubernetesCellFiles } from './infrastructure/kubernetes-cell-files.js';
import { LookAtShards } from './infrastructure/look-at-shards.js';
import { PostgresSnapshots } from './infrastructure/postgres-snapshots.js';
import { PostgresSources, PostgresTargets, ShardsOfBackup } from './infrastructure/postgres-tenants.js';
import { RestoreEntity, RestoreRepository } from './infrastructure/restore.repository.js';
import { S3ObjectStore } from './infrastructure/s3-object-store.js';
import { ScheduleRepository } from './infrastructure/schedule.repository.js';

@Module({})
export class AppModule {
  static with(config: Config, log: Log): DynamicModule {
    const settings: BackupSettings = {
      meshName: config.MESH_NAME,
      schedules: config.MESH_BACKUP_SCHEDULES === 'on',
      most: { perCell: config.MESH_BACKUPS_PER_CELL, perShard: config.MESH_BACKUPS_PER_SHARD },
      proofsPerShard: config.MESH_PROOFS_PER_SHARD,
      deadlines: { backup: config.MESH_BACKUP_DEADLINE, restore: config.MESH_RESTORE_DEADLINE },
      quiesceMs: config.MESH_RESTORE_STANDSTILL,
    };
    const cellFiles: CellFilesSettings = {
      meshName: config.MESH_NAME,
      storageClass: config.MESH_STORAGE_CLASS,
      snapshotClass: config.MESH_SNAPSHOT_CLASS,
      snapshotAccess: config.MESH_SNAPSHOT_ACCESS,
      filesImage: config.MESH_FILES_IMAGE,
      jobDeadlineSeconds: Math.ceil(Math.max(config.MESH_BACKUP_DEADLINE, config.MESH_RESTORE_DEADLINE) / 1_000),
      objectStoreAccess: {
        MESH_S3_ENDPOINT: config.MESH_S3_ENDPOINT,
        MESH_S3_REGION: config.MESH_S3_REGION,
        MESH_S3_BUCKET: config.MESH_S3_BUCKET,
        MESH_S3_ACCESS_KEY: config.MESH_S3_FILES_ACCESS_KEY ?? config.MESH_S3_ACCESS_KEY,
        MESH_S3_SECRET_KEY: config.MESH_S3_FILES_SECRET_KEY ?? config.MESH_S3_SECRET_KEY,
        MESH_S3_ENCRYPTION: config.MESH_S3_ENCRYPTION,
        MESH_S3_OBJECT_LOCK: config.MESH_S3_OBJECT_LOCK,
      },
      nodesRun: config.MESH_ROUTER_URL !== undefined,
    };
    const shards = new ShardsOfBackup({
      meshName: config.MESH_NAME,
      readers: config.MESH_SHARD_READER_URLS,
      writers: config.MESH_SHARD_URLS,
      programs: config.MESH_POSTGRES_PROGRAMS,
      longestMs: config.MESH_BACKUP_DEADLINE,
    });
    return {
      module: AppModule,
      imports: [
        HealthModule,
        PersistenceModule.forService({
          url: config.MESH_DATABASE_URL,
          schema: 'backup',
          applicationName: `${config.MESH_NAME} backup`,
          entities: [InstanceEntity, FootprintEntity, PurgeEntity, BackupEntity, RestoreEntity],
          migrations: [...jobsMigrations, ...messagingMigrations, ...backupMigrations],
          poolSize: 20,
        }),
        MessagingModule.forService({
          service: 'backup',
          subscriptions,
          url: config.MESH_AMQP_URL,
          levels: config.MESH_RETRY_LEVELS,
          askAgainMs: config.MESH_ASK_AGAIN,
          onTrouble: (what, error, fields) => log.warn(what, { error, ...fields }),
          onNotice: (what, fields) => log.info(what, fields),
        }),
      ],
      providers: [
        { provide: BackupSettings, useValue: settings },
        { provide: CellFilesSettings, useValue: cellFiles },
        { provide: Log, useValue: log },
        {
          provide: KubernetesClient,
          useFactory: () => new KubernetesClient({ kubeconfig: config.MESH_KUBECONFIG }),
        },
        { provide: Instances, useClass: InstanceRepository },
        { provide: Backups, useClass: BackupRepository },
        { provide: Restores, useClass: RestoreRepository },
        { provide: Schedules, useClass: ScheduleRepository },
        { provide: Expiries, useClass: ExpiryRepository },
        { provide: Figured, useClass: FiguresRepository },
        { provide: ShardSnapshots, useClass: PostgresSnapshots },
        { provide: ObjectStore, useFactory: () => new S3ObjectStore(storageOf(config)) },
        { provide: CellFiles, useClass: KubernetesCellFiles },
        { provide: ShardsOfBackup, useValue: shards },
        { provide: TenantSources, useClass: PostgresSources },
        { provide: TenantTargets, useClass: PostgresTargets },
        BeginBackup,
        BeginRestore,
        ProveBackup,
        ReadBackup,
        LockContents,
        ReconcileBackup,
        ReconcileProof,
        FillFootprint,
        ReconcileRestore,
        ReconcileSnapshots,
        ScheduleBackups,
        ExpireBackups,
        ReconcileExpired,
        SetAsideDamaged,
        SweepContents,
        BackupMetrics,
        BackupGauges,
        LookAtShards,
        HoldBackupHandler,
        ReleaseBackupHandler,
        RequestBackupHandler,
        RequestRestoreHandler,
        backupJobs(config.MESH_JOB_LEASE, log),
        ...Object.values(instances),
        ...Object.values(answers),
        RepublishHandler,
      ],
    };
  }
}
