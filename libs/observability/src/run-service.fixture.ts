import 'reflect-metadata';
import { createInterface } from 'node:readline';
import { Module } from '@nestjs/common';
import { type CustomTransportStrategy, Server } from '@nestjs/microservices';
import { HealthModule } from './health.js';
import { Log } from './log.js';
import { runService } from './run-service.js';

/** A service as a process, for run-service.spec.ts: it does what the line it gets on stdin says. */
class Transport extends Server implements CustomTransportStrategy {
  listen(callback: (error?: unknown) => void): void {
    log.info('transport listens');
    callback();
  }
  async close(): Promise<void> {
    log.info('transport closed');
  }
  on(): void {}
  unwrap<T>(): T {
    throw new Error('there is nothing inside');
  }
}

@Module({ imports: [HealthModule] })
class App {}

const [scenario] = process.argv.slice(2);
const log = new Log({ service: 'fixture' });
const lines = createInterface({ input: process.stdin });
/** Resolves when the test says so. */
const told = (what: string) =>
  new Promise<void>((resolve) => {
    lines.on('line', (line) => line === what && resolve());
  });
const finishDrain = told('finish drain');
const finishStart = told('finish start');
told('throw').then(() => setImmediate(() => thrown('nobody catches this')));
told('reject').then(() => thrown('nobody awaits this'));
// A pipe that stays open must not keep the process.
process.stdin.unref?.();

function thrown(message: string): never {
  throw new Error(message);
}

await runService({
  name: 'fixture',
  module: { module: App },
  httpHost: '127.0.0.1',
  httpPort: 0,
  log,
  strategy: () => new Transport(),
  checks: () => ({ nothing: () => [] }),
  onListening: async (app) => {
    log.info('listening', { address: await app.getUrl() });
    if (scenario === 'start fails') thrown('there is no broker');
    if (scenario === 'start waits') {
      await finishStart;
      log.info('start goes on');
      thrown('cut off by the stop');
    }
  },
  onServing: () => log.info('serving'),
  drain: () => [
    async () => {
      log.info('first step');
      if (scenario === 'drain step fails') thrown('the channel is gone');
      if (scenario?.endsWith('waits')) await finishDrain;
    },
    async () => log.info('second step'),
  ],
  drainLimitMs: scenario === 'drain waits' ? 2_000 : 20_000,
});
