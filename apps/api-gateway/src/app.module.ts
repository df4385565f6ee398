import { type DynamicModule, Module } from '@nestjs/common';
import { APP_FILTER } from '@nestjs/core';
import { MessagingModule, messagingMigrations } from '#messaging/index.js';
import { HealthModule, Log } from '#observability/index.js';
import { PersistenceModule } from '#persistence/index.js';
import { ApiKeys, InstanceViews, ParkedMessages, ParkedReplay, Timeline } from './application/ports.js';
import * as projections from './application/project-instance.handlers.js';
import { RecordFactHandler } from './application/record-fact.handler.js';
import { RequestInstance } from './application/request-instance.js';
import { SettleParked } from './application/settle-parked.js';
import type { Config } from './config.js';
import { InstanceFigures } from './entrypoints/instance-figures.js';
import { InstancesController } from './entrypoints/instances.controller.js';
import { OperationsController } from './entrypoints/operations.controller.js';
import { ParkedController } from './entrypoints/parked.controller.js';
import { ProblemFilter } from './entrypoints/problem.js';
import { subscriptions } from './entrypoints/subscriptions.js';
import { gatewayMigrations } from './infrastructure/gateway.migration.js';
import { HashedApiKeys } from './infrastructure/hashed-api-keys.js';
import { InstanceViewRepository } from './infrastructure/instance-view.repository.js';
import { BrokerReplay, ParkedMessageRepository } from './infrastructure/parked-message.repository.js';
import { TimelineRepository } from './infrastructure/timeline.repository.js';

@Module({})
export class AppModule {
  static with(config: Config, log: Log): DynamicModule {
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
      controllers: [InstancesController, OperationsController, ParkedController],
      providers: [
        { provide: Log, useValue: log },
        { provide: APP_FILTER, useFactory: () => new ProblemFilter(log) },
        { provide: ApiKeys, useFactory: () => new HashedApiKeys(config.MESH_API_KEY_HASHES) },
        { provide: InstanceViews, useClass: InstanceViewRepository },
        { provide: ParkedMessages, useClass: ParkedMessageRepository },
        { provide: Timeline, useClass: TimelineRepository },
        { provide: ParkedReplay, useClass: BrokerReplay },
        InstanceFigures,
        RequestInstance,
        SettleParked,
        RecordFactHandler,
        ...Object.values(projections),
      ],
    };
  }
}
