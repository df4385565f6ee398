import type { DynamicModule, INestApplication } from '@nestjs/common';
import { NestFactory } from '@nestjs/core';
import type { CustomTransportStrategy } from '@nestjs/microservices';
import { Health } from './health.js';
import { HttpMetrics, type Routes } from './http-metrics.js';
import type { Log } from './log.js';
import { startMetrics } from './metrics.js';
import { nestLog } from './nest-log.js';
import { startTracing, type Tracing } from './tracing.js';

export interface ServiceOptions {
  readonly name: string;
  readonly module: DynamicModule;
  readonly httpHost: string;
  readonly httpPort: number;
  readonly log: Log;
  readonly otlpEndpoint?: string | undefined;
  readonly traceRatio?: number;
  readonly strategy: (app: INestApplication) => CustomTransportStrategy;
  /** What may keep the service from working, for /readyz; see Health.add. */
  readonly checks: (app: INestApplication) => Readonly<Record<string, () => readonly string[]>>;
  /** What has to come to a stop before the application is closed, in this order. */
  readonly drain: (app: INestApplication) => readonly (() => Promise<void>)[];
  /** Once messages and calls can come in. */
  readonly onListening: (app: INestApplication) => Promise<void>;
  /** Once everything hears and answers, before the service calls itself ready. */
  readonly onServing?: (app: INestApplication) => void | Promise<void>;
  /** How long a drain may take, in milliseconds. */
  readonly drainLimitMs?: number;
}

/** Longer than the slowest handler may take, shorter than Kubernetes waits. */
const defaultDrainLimitMs = 25_000;

/**
 * Starts one service and stays until SIGTERM or SIGINT, which drain it: readiness off while HTTP still answers, then
 * `drain` step by step, spans flushed, the application closed, exit 0. A step that fails keeps none of the others from
 * being taken; then the exit code is 1. A second signal, or too long a drain, exits 1 at once: everything is safe to be
 * cut off, only not as quick to go on. So does an error that nobody caught: what such a process would do next nobody
 * knows. (Nest's own shutdown hooks are not used: they end the process by the signal, before the spans are out.)
 */
export async function runService(options: ServiceOptions): Promise<void> {
  const { name, log } = options;
  startMetrics(name);
  const tracing = startTracing({
    service: name,
    endpoint: options.otlpEndpoint,
    ratio: options.traceRatio,
    onTrouble: (what, error) => log.warn(what, { error }),
  });
  const die = (what: string) => (error: unknown) => {
    log.error(what, { error });
    process.exit(1);
  };
  process.on('uncaughtException', die('uncaught exception'));
  process.on('unhandledRejection', die('unhandled rejection'));

  let stopping = () => false;
  try {
    const app = await NestFactory.create(options.module, { logger: nestLog(log), abortOnError: false });
    stopping = stopOnSignals(app, options, tracing);
    const http = new HttpMetrics();
    app.use(http.measure);
    for (const [name, check] of Object.entries(options.checks(app))) app.get(Health).add(name, check);
    app.connectMicroservice({ strategy: options.strategy(app) });
    await app.listen(options.httpPort, options.httpHost);
    const { router }: { router: Routes } = app.getHttpAdapter().getInstance();
    http.startFromZero(router);
    await app.startAllMicroservices();
    await options.onListening(app);
    await options.onServing?.(app);
    if (stopping()) return;
    app.get(Health).serving();
    log.info('service is ready', { address: await app.getUrl() });
  } catch (error) {
    // What was told to stop during its start is stopping, and that it did not get ready is no fault.
    if (!stopping()) die('service cannot start')(error);
  }
}

/** @returns whether a signal has come. */
function stopOnSignals(app: INestApplication, options: ServiceOptions, tracing: Tracing): () => boolean {
  const { log, drainLimitMs = defaultDrainLimitMs } = options;
  let stopping = false;
  let clean = true;
  const attempt = async (step: () => Promise<void>) => {
    try {
      await step();
    } catch (error) {
      clean = false;
      log.error('drain step failed', { error });
    }
  };
  const stop = async (signal: string) => {
    if (stopping) {
      log.warn('service ends at once, signalled again', { signal });
      process.exit(1);
    }
    stopping = true;
    log.info('service drains', { signal });
    setTimeout(() => {
      log.error('drain took too long', { limitMs: drainLimitMs });
      process.exit(1);
    }, drainLimitMs);
    app.get(Health).draining();
    for (const step of options.drain(app)) await attempt(step);
    await tracing.shutdown();
    await attempt(() => app.close());
    log.info('service stopped', { clean });
    process.exit(clean ? 0 : 1);
  };
  for (const signal of ['SIGTERM', 'SIGINT'] as const) process.on(signal, () => void stop(signal));
  return () => stopping;
}
