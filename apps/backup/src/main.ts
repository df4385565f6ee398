import 'reflect-metadata';
import { Messaging } from '#messaging/index.js';
import { Log, runService } from '#observability/index.js';
import { Database, JobQueue, JobWorker } from '#persistence/index.js';
import { AppModule } from './app.module.js';
import { readConfig } from './config.js';
import { askForStandingJobs } from './entrypoints/jobs.js';

const config = readConfig();
const log = new Log({ service: 'backup', level: config.MESH_LOG_LEVEL });

if (!config.MESH_S3_FILES_ACCESS_KEY)
  log.warn('Jobs in cells have the key that reaches all backups; give them one of their own: MESH_S3_FILES_ACCESS_KEY');

await runService({
  name: 'backup',
  module: AppModule.with(config, log),
  httpHost: config.MESH_HTTP_HOST,
  httpPort: config.MESH_HTTP_PORT,
  log,
  otlpEndpoint: config.MESH_OTLP_ENDPOINT,
  traceRatio: config.MESH_TRACE_RATIO,
  onListening: (app) => app.get(Messaging).askForWhatWasMissed(),
  strategy: (app) => app.get(Messaging).transport,
  checks: (app) => ({ messages: () => app.get(Messaging).troubles }),
  onServing: async (app) => {
    app.get(JobWorker).start();
    await askForStandingJobs(app.get(Database), app.get(JobQueue));
  },
  drain: (app) => [
    () => app.get(Messaging).drainConsumers(),
    () => app.get(JobWorker).drain(),
    () => app.get(Messaging).drainOutbox(),
  ],
});
