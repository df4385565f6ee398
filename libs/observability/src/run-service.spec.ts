import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, mkdtempSync, readdirSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { createInterface } from 'node:readline';
import { afterAll, afterEach, beforeAll, expect, test } from '@jest/globals';
import { transformFile } from '@swc/core';
import { waitFor } from '#testing/wait-for.js';

type Line = Record<string, unknown> & { readonly msg: string };

/** The service is a real process, made of these sources and not of an older build. */
let folder: string;
beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'run-service-'));
  mkdirSync(join(folder, 'src'));
  symlinkSync(resolve('node_modules'), join(folder, 'node_modules'));
  writeFileSync(join(folder, 'package.json'), '{"type":"module"}');
  for (const file of readdirSync(import.meta.dirname).filter((name) => /^(?!.*spec\.ts$).*\.ts$/.test(name))) {
    const { code } = await transformFile(join(import.meta.dirname, file));
    writeFileSync(join(folder, 'src', file.replace(/ts$/, 'js')), code);
  }
});
afterAll(() => rmSync(folder, { recursive: true }));

let service: ChildProcess;
afterEach(() => void service.kill('SIGKILL'));

function start(scenario = '') {
  const lines: Line[] = [];
  service = spawn(process.execPath, [join(folder, 'src/run-service.fixture.js'), scenario]);
  const ended = once(service, 'exit').then(([code, signal]) => ({ code, signal }));
  createInterface({ input: service.stdout! }).on('line', (line) => lines.push(JSON.parse(line)));
  const stderr: string[] = [];
  service.stderr!.on('data', (chunk) => stderr.push(String(chunk)));
  return {
    ended,
    tell: (what: string) => service.stdin!.write(`${what}\n`),
    messages: () => lines.map((line) => line.msg),
    line: (msg: string) =>
      waitFor(`the line "${msg}" (stderr: ${stderr.join('')})`, () => lines.find((line) => line.msg === msg)),
    async get(path: string) {
      const response = await this.fetch(path);
      return { status: response.status, body: (await response.json()) as { stage?: string } };
    },
    fetch(path: string) {
      const { address } = lines.find((line) => line.msg === 'listening')!;
      return fetch(`${address}/${path}`, { headers: { connection: 'close' } });
    },
  };
}

test('a stop: readiness off while HTTP answers, step after step, then the application, exit 0', async () => {
  const running = start('drain waits');
  const { line, tell, messages, ended } = running;
  const get = (path: string) => running.get(path);
  await line('service is ready');
  expect((await get('readyz')).status).toBe(200);
  service.kill('SIGTERM');
  await line('first step');
  expect(await get('readyz')).toMatchObject({ status: 503, body: { stage: 'draining' } });
  expect((await get('livez')).status).toBe(200);
  expect(messages()).not.toContain('second step');
  tell('finish drain');
  expect(await ended).toEqual({ code: 0, signal: null });
  expect(messages()).toEqual([
    'transport listens',
    'listening',
    'serving',
    'service is ready',
    'service drains',
    'first step',
    'second step',
    'transport closed',
    'service stopped',
  ]);
});

test('Ctrl-C is a stop too', async () => {
  const { line, ended } = start();
  await line('service is ready');
  service.kill('SIGINT');
  expect(await ended).toEqual({ code: 0, signal: null });
});

test('it tells Prometheus about itself', async () => {
  const running = start();
  await running.line('service is ready');
  const metrics = await (await running.fetch('metrics')).text();
  expect(metrics).toMatch(/^process_resident_memory_bytes \d{8,}$/m);
  expect(metrics).toMatch(/^process_cpu_seconds_total [\d.]+$/m);
  service.kill('SIGTERM');
  expect(await running.ended).toEqual({ code: 0, signal: null });
});

test('it counts its HTTP requests by the template of their route, and all that have none as one', async () => {
  const running = start();
  await running.line('service is ready');
  await running.fetch('nowhere/4711');
  await running.fetch('nowhere/4712');
  const told = await waitFor('the requests to be counted', async () => {
    await running.fetch('readyz');
    const metrics = await (await running.fetch('metrics')).text();
    return /route="\/metrics",method="GET",status="2xx"} [1-9]/.test(metrics) && metrics;
  });
  expect(told).toContain('mesh_http_requests_total{route="unknown",method="GET",status="4xx"} 2');
  expect(told).toContain('mesh_http_request_duration_seconds_count{route="unknown",method="GET"} 2');
  expect(told).not.toContain('nowhere');
  // Before the first request, so that the first failure is an increase.
  expect(told).toContain('mesh_http_requests_total{route="/livez",method="GET",status="5xx"} 0');
  expect(told).toMatch(/^mesh_ready 1$/m);
  service.kill('SIGTERM');
  expect(await running.ended).toEqual({ code: 0, signal: null });
});

test('it is not ready before all of its start is done, and a stop during the start is one', async () => {
  const running = start('start waits');
  const { line, tell, messages, ended } = running;
  const get = (path: string) => running.get(path);
  await line('listening');
  expect(await get('readyz')).toMatchObject({ status: 503, body: { stage: 'starting' } });
  service.kill('SIGTERM');
  await line('first step');
  tell('finish start');
  await line('start goes on');
  tell('finish drain');
  expect(await ended).toEqual({ code: 0, signal: null });
  expect(messages()).not.toContain('service is ready');
  expect(messages()).not.toContain('service cannot start');
});

test('a second signal ends it at once', async () => {
  const { line, ended } = start('drain waits');
  await line('service is ready');
  service.kill('SIGTERM');
  await line('first step');
  const asked = Date.now();
  service.kill('SIGTERM');
  expect(await ended).toEqual({ code: 1, signal: null });
  expect(Date.now() - asked).toBeLessThan(1_500);
});

test('a drain that takes too long is cut off', async () => {
  const { line, messages, ended } = start('drain waits');
  await line('service is ready');
  service.kill('SIGTERM');
  expect(await ended).toEqual({ code: 1, signal: null });
  expect(messages().at(-1)).toBe('drain took too long');
});

test('a step that fails keeps none of the others from being taken, and is told by the exit code', async () => {
  const { line, messages, ended } = start('drain step fails');
  await line('service is ready');
  service.kill('SIGTERM');
  expect(await ended).toEqual({ code: 1, signal: null });
  expect(messages().slice(-5)).toEqual([
    'first step',
    'drain step failed',
    'second step',
    'transport closed',
    'service stopped',
  ]);
});

test.each([
  ['start fails', undefined, 'service cannot start', 'there is no broker'],
  ['', 'throw', 'uncaught exception', 'nobody catches this'],
  ['', 'reject', 'unhandled rejection', 'nobody awaits this'],
])('%s%s: the error is written, whole, and the exit code is 1', async (scenario, told, msg, message) => {
  const { line, tell, ended } = start(scenario);
  if (told) {
    await line('service is ready');
    tell(told);
  }
  expect(await ended).toEqual({ code: 1, signal: null });
  expect(await line(msg)).toMatchObject({ level: 'error', error: { message, stack: expect.stringContaining('at ') } });
});
