import { type INestApplication, Module, type Type } from '@nestjs/common';
import { NestFactory } from '@nestjs/core';
import type { Service } from '#contracts/index.js';
import {
  type MessageHandler,
  Messaging,
  MessagingModule,
  messagingMigrations,
  Outbox,
  parseRetryLevels,
  type Subscription,
} from '#messaging/index.js';
import { Database, PersistenceModule } from '#persistence/index.js';
import type { TestBroker } from './broker.js';
import { createTestDatabase, type TestDatabase } from './database.js';

/** One service with handlers of a test, on a database of its own, in this process. */
export class TestService {
  private constructor(
    private readonly app: INestApplication,
    private readonly testDatabase: TestDatabase,
    readonly notices: { what: string; fields: Record<string, unknown> }[],
    /** What it complained about. */
    readonly troubles: { what: string; error: unknown }[],
  ) {}

  static async start(
    broker: TestBroker,
    service: Service,
    subscriptions: readonly Subscription[],
    handlers: readonly Type<MessageHandler>[],
    { askAgainMs = 300, prefetch }: { readonly askAgainMs?: number; readonly prefetch?: number } = {},
  ): Promise<TestService> {
    const schema = service.replaceAll('-', '_');
    const testDatabase = await createTestDatabase(schema, schema);
    const notices: TestService['notices'] = [];
    const troubles: TestService['troubles'] = [];
    @Module({
      imports: [
        PersistenceModule.forService({
          url: testDatabase.url,
          schema,
          applicationName: `${service} spec`,
          migrations: [...messagingMigrations],
        }),
        MessagingModule.forService({
          service,
          subscriptions,
          url: broker.urlOf(service),
          levels: parseRetryLevels('20ms,40ms'),
          askAgainMs,
          ...(prefetch && { prefetch }),
          onTrouble: (what, error) => void troubles.push({ what, error }),
          onNotice: (what, fields) => void notices.push({ what, fields }),
        }),
      ],
      providers: [...handlers],
    })
    class App {}
    const app = await NestFactory.create(App, { logger: false });
    app.connectMicroservice({ strategy: app.get(Messaging).transport });
    // First init: the connections are opened there.
    await app.init();
    await app.startAllMicroservices();
    await app.get(Messaging).askForWhatWasMissed();
    return new TestService(app, testDatabase, notices, troubles);
  }

  get outbox(): Outbox {
    return this.app.get(Outbox);
  }

  get database(): Database {
    return this.app.get(Database);
  }

  get messaging(): Messaging {
    return this.app.get(Messaging);
  }

  async stop(): Promise<void> {
    await this.messaging.drainConsumers();
    await this.messaging.drainOutbox();
    await this.app.close();
    await this.testDatabase.drop();
  }
}
