import 'reflect-metadata';
import { services } from '#contracts/index.js';
import { Messaging } from '#messaging/index.js';
import { Log, runService } from '#observability/index.js';
import { AppModule } from './app.module.js';
import { EventFeed } from './application/event-feed.js';
import { ParkedMessages } from './application/ports.js';
import { readConfig } from './config.js';

const config = readConfig();
const log = new Log({ service: 'api-gateway', level: config.MESH_LOG_LEVEL });

await runService({
  name: 'api-gateway',
  module: AppModule.with(config, log),
  httpHost: config.MESH_HTTP_HOST,
  httpPort: config.MESH_HTTP_PORT,
  log,
  otlpEndpoint: config.MESH_OTLP_ENDPOINT,
  traceRatio: config.MESH_TRACE_RATIO,
  onListening: (app) => app.get(Messaging).askForWhatWasMissed(),
  strategy: (app) => app.get(Messaging).transport,
  checks: (app) => ({ messages: () => app.get(Messaging).troubles }),
  onServing: (app) => {
    app.get(EventFeed).start();
    const parked = app.get(ParkedMessages);
    app.get(Messaging).collectParked(services, (message) => parked.add(message));
  },
  drain: (app) => [
    // Who follows connects again, to a process that stays.
    () => app.get(EventFeed).close(),
    () => app.get(Messaging).drainConsumers(),
    () => app.get(Messaging).drainOutbox(),
  ],
});
