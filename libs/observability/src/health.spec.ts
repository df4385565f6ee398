import type { AddressInfo } from 'node:net';
import { afterEach, beforeEach, expect, jest, test } from '@jest/globals';
import { type INestApplication, Module } from '@nestjs/common';
import { NestFactory } from '@nestjs/core';
import { Health, HealthModule } from './health.js';

@Module({ imports: [HealthModule] })
class App {}

let app: INestApplication;
let health: Health;

beforeEach(async () => {
  app = await NestFactory.create(App, { logger: false });
  await app.listen(0, '127.0.0.1');
  health = app.get(Health);
});
afterEach(async () => {
  jest.useRealTimers();
  await app.close();
});

async function get(path: 'livez' | 'readyz') {
  const { port } = app.getHttpServer().address() as AddressInfo;
  const response = await fetch(`http://127.0.0.1:${port}/${path}`);
  return { status: response.status, body: await response.json() };
}

test('ready only between its start and its drain; alive all the time', async () => {
  expect(await get('readyz')).toMatchObject({ status: 503, body: { ready: false, stage: 'starting' } });
  health.serving();
  expect(await get('readyz')).toMatchObject({ status: 200, body: { ready: true, stage: 'serving' } });
  health.draining();
  expect(await get('readyz')).toMatchObject({ status: 503, body: { ready: false, stage: 'draining' } });
  expect(await get('livez')).toEqual({ status: 200, body: { alive: true } });
});

test('a service that was told to stop during its start does not become ready', () => {
  health.draining();
  health.serving();
  expect(health.report()).toMatchObject({ ready: false, stage: 'draining' });
});

test('a part in trouble: not ready, with the reason and without its secrets; but alive', async () => {
  let troubles: string[] = [];
  health.add('messages', () => troubles);
  health.add('database', () => []);
  health.serving();
  troubles = ['cannot reach amqp://mesh:hunter2@broker'];
  expect(await get('readyz')).toMatchObject({
    status: 503,
    body: {
      ready: false,
      checks: [
        { name: 'messages', state: 'failing', reasons: ['cannot reach amqp://[secret]@broker'] },
        { name: 'database', state: 'ok', reasons: [] },
      ],
    },
  });
  expect((await get('livez')).status).toBe(200);
  troubles = [];
  expect((await get('readyz')).status).toBe(200);
});

test('a check that cannot look is a trouble, not an answer that all is well', () => {
  health.add('messages', () => {
    throw new Error('no connection');
  });
  health.serving();
  expect(health.report()).toMatchObject({ ready: false, checks: [{ reasons: ['could not look: no connection'] }] });
});

test('a trouble has one date from its first sight to its end', () => {
  jest.useFakeTimers({ now: new Date('2026-11-24T12:00:00Z') });
  let troubles: string[] = [];
  health.add('messages', () => troubles);
  const since = () => health.report().checks[0]!.since;
  expect(since()).toBe('2026-11-24T12:00:00.000Z');
  jest.setSystemTime(new Date('2026-11-24T12:01:00Z'));
  troubles = ['away'];
  expect(since()).toBe('2026-11-24T12:01:00.000Z');
  jest.setSystemTime(new Date('2026-11-24T12:02:00Z'));
  troubles = ['still away'];
  expect(since()).toBe('2026-11-24T12:01:00.000Z');
  jest.setSystemTime(new Date('2026-11-24T12:03:00Z'));
  troubles = [];
  expect(since()).toBe('2026-11-24T12:03:00.000Z');
});

test('only what no waiting can mend makes it not alive, and that stays', async () => {
  health.serving();
  health.restartNeeded('the reader of the outbox has ended');
  health.restartNeeded('and something else');
  const restartNeeded = 'the reader of the outbox has ended';
  expect(await get('livez')).toEqual({ status: 503, body: { alive: false, restartNeeded } });
  expect(await get('readyz')).toMatchObject({ status: 503, body: { ready: false, restartNeeded } });
});
