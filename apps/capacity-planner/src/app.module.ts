import { type DynamicModule, Module } from '@nestjs/common';
import { KubernetesClient } from '#kubernetes/index.js';
import { MessagingModule, messagingMigrations, RepublishHandler } from '#messaging/index.js';
import { HealthModule, Log } from '#observability/index.js';
import { jobsMigrations, PersistenceModule } from '#persistence/index.js';
import { ChangePlacementHandler } from './application/change-placement.handler.js';
import { FollowSwitchHandler } from './application/follow-switch.handler.js';
import { KeepSpareHandler } from './application/keep-spare.handler.js';
import { LearnTemplateHandler } from './application/learn-template.handler.js';
import { NoteSpareHandler } from './application/note-spare.handler.js';
import { PlaceCloneHandler } from './application/place-clone.handler.js';
import { PlaceFootprintHandler } from './application/place-footprint.handler.js';
import { PlaceInstanceHandler } from './application/place-instance.handler.js';
import { PlacingService } from './application/placing.js';
import {
  Besides,
  Cells,
  Cluster,
  DatabaseShards,
  HostNames,
  Placements,
  PlannerSettings,
  Room,
  Spares,
  Templates,
} from './application/ports.js';
import { ReconcileCell } from './application/reconcile-cell.js';
import { ReconcileSpares } from './application/reconcile-spares.js';
import { ReconcileWaiting } from './application/reconcile-waiting.js';
import { ReleaseFootprintHandler } from './application/release-footprint.handler.js';
import { ReleaseHostHandler } from './application/release-host.handler.js';
import { ReleasePlacementHandler } from './application/release-placement.handler.js';
import { RenewCells } from './application/renew-cells.js';
import { ReportCell } from './application/report-cell.js';
import { ReserveHostHandler } from './application/reserve-host.handler.js';
import { Retirement } from './application/retirement.js';
import type { Config } from './config.js';
import { plannerJobs } from './entrypoints/jobs.js';
import { RoomFigures } from './entrypoints/room-figures.js';
import { subscriptions } from './entrypoints/subscriptions.js';
import { BesideRepository } from './infrastructure/beside.repository.js';
import { HostNameRepository } from './infrastructure/host-name.repository.js';
import { KubernetesCluster } from './infrastructure/kubernetes-cluster.js';
import { PlacementEntity, PlacementRepository } from './infrastructure/placement.repository.js';
import { plannerMigrations } from './infrastructure/planner.migration.js';
import {
  CellRepository,
  DatabaseShardRepository,
  RoomRepository,
  ShardSettings,
} from './infrastructure/room.repository.js';
import { SpareRepository } from './infrastructure/spare.repository.js';
import { TemplateRepository } from './infrastructure/template.repository.js';

@Module({})
export class AppModule {
  static with(config: Config, log: Log): DynamicModule {
    const settings: PlannerSettings = {
      meshName: config.MESH_NAME,
      domain: config.MESH_DOMAIN,
      placesPerCell: config.MESH_PLACES_PER_CELL,
      maxCells: config.MESH_MAX_CELLS,
      ingressNamespace: config.MESH_INGRESS_NAMESPACE,
      clusterNetworks: config.MESH_CLUSTER_NETWORKS,
      databases: config.MESH_DATABASE_NETWORKS,
      objectStores: config.MESH_OBJECT_STORE_NETWORKS,
      edge: config.MESH_EDGE_ADDRESS,
      shards: config.MESH_SHARDS,
      spares: config.MESH_SPARES,
    };
    return {
      module: AppModule,
      imports: [
        HealthModule,
        PersistenceModule.forService({
          url: config.MESH_DATABASE_URL,
          schema: 'capacity_planner',
          applicationName: `${config.MESH_NAME} capacity-planner`,
          entities: [PlacementEntity],
          migrations: [...jobsMigrations, ...messagingMigrations, ...plannerMigrations],
        }),
        MessagingModule.forService({
          service: 'capacity-planner',
          subscriptions,
          url: config.MESH_AMQP_URL,
          levels: config.MESH_RETRY_LEVELS,
          askAgainMs: config.MESH_ASK_AGAIN,
          onTrouble: (what, error, fields) => log.warn(what, { error, ...fields }),
          onNotice: (what, fields) => log.info(what, fields),
        }),
      ],
      providers: [
        { provide: PlannerSettings, useValue: settings },
        { provide: Log, useValue: log },
        {
          provide: KubernetesClient,
          useFactory: () => new KubernetesClient({ kubeconfig: config.MESH_KUBECONFIG }),
        },
        { provide: Placements, useClass: PlacementRepository },
        { provide: HostNames, useClass: HostNameRepository },
        { provide: Cells, useClass: CellRepository },
        { provide: DatabaseShards, useClass: DatabaseShardRepository },
        { provide: Room, useClass: RoomRepository },
        { provide: Templates, useClass: TemplateRepository },
        { provide: Spares, useClass: SpareRepository },
        { provide: Besides, useClass: BesideRepository },
        { provide: Cluster, useClass: KubernetesCluster },
        PlacingService,
        ReconcileCell,
        ReconcileWaiting,
        ReconcileSpares,
        Retirement,
        RenewCells,
        ReportCell,
        RoomFigures,
        plannerJobs(config.MESH_JOB_LEASE, log),
        ShardSettings,
        PlaceInstanceHandler,
        ChangePlacementHandler,
        ReserveHostHandler,
        ReleaseHostHandler,
        LearnTemplateHandler,
        ReleasePlacementHandler,
        NoteSpareHandler,
        ReleaseFootprintHandler,
        PlaceFootprintHandler,
        PlaceCloneHandler,
        FollowSwitchHandler,
        KeepSpareHandler,
        RepublishHandler,
      ],
    };
  }
}
