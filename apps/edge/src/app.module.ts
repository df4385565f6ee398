import { type DynamicModule, Module } from '@nestjs/common';
import { MessagingModule, messagingMigrations } from '#messaging/index.js';
import { HealthModule, Log } from '#observability/index.js';
import { PersistenceModule } from '#persistence/index.js';
import { FindNotice } from './application/find-notice.js';
import * as learning from './application/learn-site.handlers.js';
import { Sites } from './application/ports.js';
import type { Config } from './config.js';
import { PagesServer } from './entrypoints/pages-server.js';
import { subscriptions } from './entrypoints/subscriptions.js';
import { edgeMigrations } from './infrastructure/edge.migration.js';
import { SiteRepository } from './infrastructure/site.repository.js';

@Module({})
export class AppModule {
  static with(config: Config, log: Log): DynamicModule {
    return {
      module: AppModule,
      imports: [
        HealthModule,
        PersistenceModule.forService({
          url: config.MESH_DATABASE_URL,
          schema: 'edge',
          applicationName: `${config.MESH_NAME} edge`,
          migrations: [...messagingMigrations, ...edgeMigrations],
        }),
        MessagingModule.forService({
          service: 'edge',
          subscriptions,
          url: config.MESH_AMQP_URL,
          levels: config.MESH_RETRY_LEVELS,
          askAgainMs: config.MESH_ASK_AGAIN,
          onTrouble: (what, error, fields) => log.warn(what, { error, ...fields }),
          onNotice: (what, fields) => log.info(what, fields),
        }),
      ],
      providers: [
        { provide: Log, useValue: log },
        { provide: Sites, useClass: SiteRepository },
        FindNotice,
        PagesServer,
        ...Object.values(learning),
      ],
    };
  }
}
