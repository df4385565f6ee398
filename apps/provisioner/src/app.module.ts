import { type DynamicModule, Module } from '@nestjs/common';
import { urlOfHost } from '#footprints/index.js';
import { KubernetesClient } from '#kubernetes/index.js';
import { MessagingModule, messagingMigrations, RepublishHandler } from '#messaging/index.js';
import { HealthModule, Log } from '#observability/index.js';
import { jobsMigrations, PersistenceModule } from '#persistence/index.js';
import { CancelProvisioningHandler } from './application/cancel-provisioning.handler.js';
import { FootprintSteps } from './application/footprint-steps.js';
import { MakeFootprintHandler } from './application/make-footprint.handler.js';
import { NoteResidenceHandler } from './application/note-residence.handler.js';
import { NoteSnapshotsRemovedHandler } from './application/note-snapshots-removed.handler.js';
import {
  Cluster,
  Footprints,
  ProvisionerSettings,
  PublishedTemplates,
  Site,
  TenantShards,
} from './application/ports.js';
import { ProvisionInstanceHandler } from './application/provision-instance.handler.js';
import { ProvisioningMetrics } from './application/provisioning-metrics.js';
import { ReconcileEmpty } from './application/reconcile-empty.js';
import { ReconcileFootprint } from './application/reconcile-footprint.js';
import { ReconcileSpare } from './application/reconcile-spare.js';
import { ReconcileTemplates } from './application/reconcile-templates.js';
import { RemoveFootprintHandler } from './application/remove-footprint.handler.js';
import { RemoveFootprint } from './application/remove-footprint.js';
import { RemoveUnwantedHandler } from './application/remove-unwanted.handler.js';
import { RetryProvisioningHandler } from './application/retry-provisioning.handler.js';
import type { Config } from './config.js';
import { provisionerJobs } from './entrypoints/jobs.js';
import { subscriptions } from './entrypoints/subscriptions.js';
import { FootprintEntity, FootprintRepository } from './infrastructure/footprint.repository.js';
import { KubernetesCluster } from './infrastructure/kubernetes-cluster.js';
import { PostgresShards } from './infrastructure/postgres-shards.js';
import { provisionerMigrations } from './infrastructure/provisioner.migration.js';
import { PublishedTemplateRepository } from './infrastructure/published-template.repository.js';
import { RoutedSite } from './infrastructure/routed-site.js';

@Module({})
export class AppModule {
  static with(config: Config, log: Log): DynamicModule {
    const settings: ProvisionerSettings = {
      meshName: config.MESH_NAME,
      storageClass: config.MESH_STORAGE_CLASS,
      entry: { scheme: config.MESH_URL_SCHEME, tlsSecret: config.MESH_TLS_SECRET },
      urlOf: (host) => urlOfHost(config, host),
      routerUrl: config.MESH_ROUTER_URL,
      routerAuthorities: config.MESH_ROUTER_CA,
      deadlineMs: config.MESH_PROVISIONING_DEADLINE,
      shards: config.MESH_SHARD_URLS,
    };
    return {
      module: AppModule,
      imports: [
        HealthModule,
        PersistenceModule.forService({
          url: config.MESH_DATABASE_URL,
          schema: 'provisioner',
          applicationName: `${config.MESH_NAME} provisioner`,
          entities: [FootprintEntity],
          migrations: [...jobsMigrations, ...messagingMigrations, ...provisionerMigrations],
          poolSize: 20,
        }),
        MessagingModule.forService({
          service: 'provisioner',
          subscriptions,
          url: config.MESH_AMQP_URL,
          levels: config.MESH_RETRY_LEVELS,
          askAgainMs: config.MESH_ASK_AGAIN,
          onTrouble: (what, error, fields) => log.warn(what, { error, ...fields }),
          onNotice: (what, fields) => log.info(what, fields),
        }),
      ],
      providers: [
        { provide: ProvisionerSettings, useValue: settings },
        { provide: Log, useValue: log },
        {
          provide: KubernetesClient,
          useFactory: () => new KubernetesClient({ kubeconfig: config.MESH_KUBECONFIG }),
        },
        { provide: Footprints, useClass: FootprintRepository },
        { provide: PublishedTemplates, useClass: PublishedTemplateRepository },
        { provide: TenantShards, useClass: PostgresShards },
        { provide: Cluster, useClass: KubernetesCluster },
        { provide: Site, useClass: RoutedSite },
        ProvisioningMetrics,
        FootprintSteps,
        ReconcileFootprint,
        ReconcileSpare,
        ReconcileEmpty,
        RemoveFootprint,
        ReconcileTemplates,
        provisionerJobs(config.MESH_JOB_LEASE, log),
        ProvisionInstanceHandler,
        MakeFootprintHandler,
        RemoveUnwantedHandler,
        RemoveFootprintHandler,
        NoteSnapshotsRemovedHandler,
        NoteResidenceHandler,
        RetryProvisioningHandler,
        CancelProvisioningHandler,
        RepublishHandler,
      ],
    };
  }
}
