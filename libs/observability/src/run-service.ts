import type { DynamicModule, INestApplication } from '@nestjs/common';
import { NestFactory } from '@nestjs/core';
import type { CustomTransportStrategy } from '@nestjs/microservices';
import { Health } from './health.js';
import type { Log } from './log.js';
import { startTracing } from './tracing.js';

export interface ServiceOptions {
  readonly name: string;
  readonly module: DynamicModule;
  readonly httpHost: string;
  readonly httpPort: number;
  readonly log: Log;
  readonly otlpEndpoint?: string | undefined;
  readonly strategy: (app: INestApplication) => CustomTransportStrategy;
  /** What may keep the service from working, for /readyz; see Health.add. */
  readonly checks: (app: INestApplication) => Readonly<Record<string, () => readonly string[]>>;
  /** What has to come to a stop before the application is closed, in this order. */
  readonly drain: (app: INestApplication) => readonly (() => Promise<void>)[];
  /** Once messages and calls can come in. */
  readonly onListening: (app: INestApplication) => Promise<void>;
  /** Once everything hears and answers, before the service calls itself ready. */
  readonly onServing?: (app: INestApplication) => void | Promise<void>;
}

/** Longer than the slowest handler may take, shorter than Kubernetes waits. */
const drainLimitMs = 25_000;

/**
 * Starts one service and stays until SIGTERM or SIGINT, which drain it: readiness off while HTTP still answers, then
 * `drain` step by step, spans flushed, the application closed, exit 0. A second signal, or too long a drain, exits 1
 * at once: everything is safe to be cut off, only not as quick to go on. (Nest's own shutdown hooks are not used:
 * they end the process by the signal, before the spans are out.)
 */
export async function runService(options: ServiceOptions): Promise<void> {
  const { name, log } = options;
  const flushSpans = startTracing({ service: name, endpoint: options.otlpEndpoint });
  const die = (what: string) => (error: unknown) => {
    log.error(what, { error });
    process.exitCode = 1;
    setTimeout(() => process.exit(1), 100);
  };
  process.on('uncaughtException', die('uncaught exception'));
  process.on('unhandledRejection', die('unhandled rejection'));

  try {
    const app = await NestFactory.create(options.module, { logger: log, abortOnError: false });
    stopOnSignals(app, options, flushSpans);
    for (const [name, check] of Object.entries(options.checks(app))) app.get(Health).add(name, check);
    app.connectMicroservice({ strategy: options.strategy(app) });
    await app.listen(options.httpPort, options.httpHost);
    await app.startAllMicroservices();
    await options.onListening(app);
    await options.onServing?.(app);
    app.get(Health).serving();
    log.info('service is ready', { address: await app.getUrl() });
  } catch (error) {
    die(`${name} cannot start`)(error);
  }
}

function stopOnSignals(app: INestApplication, options: ServiceOptions, flushSpans: () => Promise<void>): void {
  let stopping = false;
  const stop = async (signal: string) => {
    if (stopping) process.exit(1);
    stopping = true;
    options.log.info('service drains', { signal });
    setTimeout(() => {
      options.log.error('drain took too long', { limitMs: drainLimitMs });
      process.exit(1);
    }, drainLimitMs).unref();
    try {
      app.get(Health).draining();
      for (const step of options.drain(app)) await step();
      await flushSpans();
      await app.close();
      options.log.info('service stopped');
      process.exit(0);
    } catch (error) {
      options.log.error('drain failed', { error });
      process.exit(1);
    }
  };
  for (const signal of ['SIGTERM', 'SIGINT'] as const) process.on(signal, () => void stop(signal));
}
