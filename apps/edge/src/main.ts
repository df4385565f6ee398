import 'reflect-metadata';
import { Messaging } from '#messaging/index.js';
import { Log, runService } from '#observability/index.js';
import { AppModule } from './app.module.js';
import { readConfig } from './config.js';
import { PagesServer } from './entrypoints/pages-server.js';

const config = readConfig();
const log = new Log({ service: 'edge', level: config.MESH_LOG_LEVEL });

await runService({
  name: 'edge',
  module: AppModule.with(config, log),
  httpHost: config.MESH_HTTP_HOST,
  httpPort: config.MESH_HTTP_PORT,
  log,
  otlpEndpoint: config.MESH_OTLP_ENDPOINT,
  traceRatio: config.MESH_TRACE_RATIO,
  onListening: (app) => app.get(Messaging).askForWhatWasMissed(),
  strategy: (app) => app.get(Messaging).transport,
  checks: (app) => ({ messages: () => app.get(Messaging).troubles }),
  onServing: (app) => app.get(PagesServer).listen(config.MESH_PAGES_PORT, config.MESH_PAGES_HOST),
  drain: (app) => [
    () => app.get(Messaging).drainConsumers(),
    () => app.get(Messaging).drainOutbox(),
    // Last: who is on the way here while the others hear that we go still gets a page.
    () => app.get(PagesServer).close(),
  ],
});
