import { type DynamicModule, Module } from '@nestjs/common';
import { urlOfHost } from '#footprints/index.js';
import { KubernetesClient } from '#kubernetes/index.js';
import { MessagingModule, messagingMigrations, RepublishHandler } from '#messaging/index.js';
import { HealthModule, Log } from '#observability/index.js';
import { jobsMigrations, PersistenceModule } from '#persistence/index.js';
import { AskOthers } from './application/ask-others.js';
import { ChangeOperation } from './application/change-operation.js';
import { EndOperation } from './application/end-operation.js';
import * as footprints from './application/footprint-facts.handlers.js';
import { FootprintStages } from './application/footprint-stages.js';
import { ForgetOperations } from './application/forget-operations.js';
import * as hosts from './application/host-facts.handlers.js';
import * as facts from './application/instance-facts.handlers.js';
import { LookForRoom } from './application/look-for-room.js';
import {
  Cluster,
  Footprints,
  Instances,
  LifecycleSettings,
  Operations,
  Site,
  TenantShards,
} from './application/ports.js';
import { ReconcileInstance } from './application/reconcile-instance.js';
import { RefuseUnknown } from './application/refuse-unknown.js';
import * as requests from './application/request-operation.handlers.js';
import { RequestOperation } from './application/request-operation.js';
import * as restores from './application/restore-facts.handlers.js';
import { SeeToDates } from './application/see-to-dates.js';
import type { Config } from './config.js';
import { faultsOf, transitions } from './domain/state-table.js';
import { lifecycleJobs } from './entrypoints/jobs.js';
import { subscriptions } from './entrypoints/subscriptions.js';
import { FootprintRepository } from './infrastructure/footprint.repository.js';
import { InstanceEntity, InstanceRepository } from './infrastructure/instance.repository.js';
import { KubernetesCluster } from './infrastructure/kubernetes-cluster.js';
import { lifecycleMigrations } from './infrastructure/lifecycle.migration.js';
import { OperationEntity, OperationRepository } from './infrastructure/operation.repository.js';
import { PostgresShards } from './infrastructure/postgres-shards.js';
import { RoutedSite } from './infrastructure/routed-site.js';

@Module({})
export class AppModule {
  static with(config: Config, log: Log): DynamicModule {
    const faults = faultsOf(transitions);
    if (faults.length > 0) throw new Error(`the state table is wrong: ${faults.join('; ')}`);
    const settings: LifecycleSettings = {
      meshName: config.MESH_NAME,
      storageClass: config.MESH_STORAGE_CLASS,
      entry: { scheme: config.MESH_URL_SCHEME, tlsSecret: config.MESH_TLS_SECRET },
      urlOf: (host) => urlOfHost(config, host),
      routerUrl: config.MESH_ROUTER_URL,
      routerAuthorities: config.MESH_ROUTER_CA,
      shards: config.MESH_SHARD_URLS,
      shardDisks: config.MESH_SHARD_DISKS,
      deadlines: {
        up: config.MESH_START_DEADLINE,
        down: config.MESH_STOP_DEADLINE,
        answer: config.MESH_START_DEADLINE,
        backup: config.MESH_BACKUP_DEADLINE,
        update: config.MESH_UPDATE_DEADLINE,
      },
      keepMs: config.MESH_KEEP_OLD,
      formerHostMs: config.MESH_FORMER_NAME_FOR,
      graceMs: config.MESH_TERMINATION_GRACE,
      unknownForMs: config.MESH_UNKNOWN_FOR,
    };
    return {
      module: AppModule,
      imports: [
        HealthModule,
        PersistenceModule.forService({
          url: config.MESH_DATABASE_URL,
          schema: 'lifecycle',
          applicationName: `${config.MESH_NAME} lifecycle`,
          entities: [InstanceEntity, OperationEntity],
          migrations: [...jobsMigrations, ...messagingMigrations, ...lifecycleMigrations],
          poolSize: 20,
        }),
        MessagingModule.forService({
          service: 'lifecycle',
          subscriptions,
          url: config.MESH_AMQP_URL,
          levels: config.MESH_RETRY_LEVELS,
          askAgainMs: config.MESH_ASK_AGAIN,
          onTrouble: (what, error, fields) => log.warn(what, { error, ...fields }),
          onNotice: (what, fields) => log.info(what, fields),
        }),
      ],
      providers: [
        { provide: LifecycleSettings, useValue: settings },
        { provide: Log, useValue: log },
        {
          provide: KubernetesClient,
          useFactory: () => new KubernetesClient({ kubeconfig: config.MESH_KUBECONFIG }),
        },
        { provide: Instances, useClass: InstanceRepository },
        { provide: Operations, useClass: OperationRepository },
        { provide: Footprints, useClass: FootprintRepository },
        { provide: Cluster, useClass: KubernetesCluster },
        { provide: TenantShards, useClass: PostgresShards },
        { provide: Site, useClass: RoutedSite },
        EndOperation,
        RequestOperation,
        FootprintStages,
        SeeToDates,
        ChangeOperation,
        LookForRoom,
        AskOthers,
        ReconcileInstance,
        RefuseUnknown,
        ForgetOperations,
        lifecycleJobs(config.MESH_JOB_LEASE, log),
        ...Object.values(requests),
        ...Object.values(facts),
        ...Object.values(hosts),
        ...Object.values(footprints),
        ...Object.values(restores),
        RepublishHandler,
      ],
    };
  }
}
