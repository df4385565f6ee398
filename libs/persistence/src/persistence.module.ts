import { type DynamicModule, Injectable, Module, type OnApplicationShutdown } from '@nestjs/common';
import { Database, type DatabaseOptions } from './database.js';
import { JobQueue } from './job-queue.js';

/** Closes the pool after everything that may still need it: never earlier in Nest's order of closing. */
@Injectable()
class Closing implements OnApplicationShutdown {
  constructor(private readonly database: Database) {}

  async onApplicationShutdown(): Promise<void> {
    await this.database.close();
  }
}

/** The service's database, open and up to date before anything else of the service is made. */
@Module({})
export class PersistenceModule {
  static forService(options: DatabaseOptions): DynamicModule {
    return {
      module: PersistenceModule,
      global: true,
      providers: [{ provide: Database, useFactory: () => Database.open(options) }, JobQueue, Closing],
      exports: [Database, JobQueue],
    };
  }
}
