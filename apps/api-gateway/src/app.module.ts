import { type DynamicModule, Module } from '@nestjs/common';
import { APP_FILTER, APP_INTERCEPTOR, HttpAdapterHost } from '@nestjs/core';
import type { ExpressAdapter } from '@nestjs/platform-express';
import { MessagingModule, messagingMigrations } from '#messaging/index.js';
import { HealthModule, Log } from '#observability/index.js';
import { Database, PersistenceModule } from '#persistence/index.js';
import { ActOnInstance } from './application/act-on-instance.js';
import { EventFeed } from './application/event-feed.js';
import { ManageApiKeys } from './application/manage-api-keys.js';
import { Once } from './application/once.js';
import {
  Actions,
  ApiKeys,
  BackupViews,
  Cells,
  CurrentFacts,
  InstanceViews,
  ParkedMessages,
  ParkedReplay,
  Repeats,
  RestoreViews,
  Timeline,
} from './application/ports.js';
import * as backupProjections from './application/project-backup.handlers.js';
import { ProjectCellHandler } from './application/project-cell.handler.js';
import * as projections from './application/project-instance.handlers.js';
import * as restoreProjections from './application/project-restore.handlers.js';
import { RebuildReadModel } from './application/rebuild-read-model.js';
import { RecordFactHandler } from './application/record-fact.handler.js';
import { RequestBackup } from './application/request-backup.js';
import { RequestInstance } from './application/request-instance.js';
import { RequestRestore } from './application/request-restore.js';
import { SettleParked } from './application/settle-parked.js';
import type { Config } from './config.js';
import { controllers } from './entrypoints/controllers.js';
import { methodsAt, openFrontDoor } from './entrypoints/front-door.js';
import { InstanceFigures } from './entrypoints/instance-figures.js';
import { ApiDocument, openApi } from './entrypoints/open-api.js';
import { ProblemFilter } from './entrypoints/problem.js';
import { RateLimit } from './entrypoints/rate-limit.js';
import { routesOf } from './entrypoints/route.js';
import { subscriptions } from './entrypoints/subscriptions.js';
import { TracedRequests } from './entrypoints/traced-requests.js';
import { ActionRepository } from './infrastructure/action.repository.js';
import { ApiKeyRepository } from './infrastructure/api-key.repository.js';
import { BackupViewRepository } from './infrastructure/backup-view.repository.js';
import { BrokerFacts } from './infrastructure/broker-facts.js';
import { CellRepository } from './infrastructure/cell.repository.js';
import { gatewayMigrations } from './infrastructure/gateway.migration.js';
import { InstanceViewRepository } from './infrastructure/instance-view.repository.js';
import { BrokerReplay, ParkedMessageRepository } from './infrastructure/parked-message.repository.js';
import { RepeatRepository } from './infrastructure/repeat.repository.js';
import { RestoreViewRepository } from './infrastructure/restore-view.repository.js';
import { TimelineRepository } from './infrastructure/timeline.repository.js';

@Module({})
export class AppModule {
  static with(config: Config, log: Log): DynamicModule {
    const routes = routesOf(controllers);
    return {
      module: AppModule,
      imports: [
        HealthModule,
        PersistenceModule.forService({
          url: config.MESH_DATABASE_URL,
          schema: 'api_gateway',
          applicationName: `${config.MESH_NAME} api-gateway`,
          migrations: [...messagingMigrations, ...gatewayMigrations],
        }),
        MessagingModule.forService({
          service: 'api-gateway',
          subscriptions,
          url: config.MESH_AMQP_URL,
          levels: config.MESH_RETRY_LEVELS,
          askAgainMs: config.MESH_ASK_AGAIN,
          onTrouble: (what, error, fields) => log.warn(what, { error, ...fields }),
          onNotice: (what, fields) => log.info(what, fields),
        }),
      ],
      controllers,
      providers: [
        { provide: Log, useValue: log },
        { provide: APP_INTERCEPTOR, useClass: TracedRequests },
        { provide: APP_FILTER, useFactory: () => new ProblemFilter(log, methodsAt(routes)) },
        {
          provide: 'front door',
          inject: [HttpAdapterHost],
          useFactory: ({ httpAdapter }: HttpAdapterHost<ExpressAdapter>) =>
            openFrontDoor(
              httpAdapter.getInstance(),
              (folder, prefix) => httpAdapter.useStaticAssets(folder, { prefix }),
              config.MESH_TRUSTED_PROXIES,
            ),
        },
        { provide: RateLimit, useFactory: () => new RateLimit(config.MESH_API_CALLS_PER_MINUTE) },
        { provide: ApiDocument, useFactory: () => new ApiDocument(openApi(routes)) },
        {
          provide: ApiKeys,
          inject: [Database],
          useFactory: (database: Database) => new ApiKeyRepository(database, config.MESH_API_KEY_HASHES),
        },
        {
          provide: EventFeed,
          inject: [Timeline],
          useFactory: (timeline: Timeline) => new EventFeed(timeline, (what, error) => log.warn(what, { error })),
        },
        { provide: InstanceViews, useClass: InstanceViewRepository },
        { provide: BackupViews, useClass: BackupViewRepository },
        { provide: RestoreViews, useClass: RestoreViewRepository },
        { provide: Actions, useClass: ActionRepository },
        { provide: Cells, useClass: CellRepository },
        { provide: CurrentFacts, useClass: BrokerFacts },
        { provide: Repeats, useClass: RepeatRepository },
        { provide: ParkedMessages, useClass: ParkedMessageRepository },
        { provide: Timeline, useClass: TimelineRepository },
        { provide: ParkedReplay, useClass: BrokerReplay },
        Once,
        ManageApiKeys,
        RebuildReadModel,
        InstanceFigures,
        RequestInstance,
        ActOnInstance,
        RequestBackup,
        RequestRestore,
        SettleParked,
        RecordFactHandler,
        ProjectCellHandler,
        ...Object.values(projections),
        ...Object.values(backupProjections),
        ...Object.values(restoreProjections),
      ],
    };
  }
}
