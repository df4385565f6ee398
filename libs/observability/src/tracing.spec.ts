import { AsyncLocalStorage } from 'node:async_hooks';
import { once } from 'node:events';
import { createServer, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { Writable } from 'node:stream';
import { setTimeout as pause } from 'node:timers/promises';
import { afterEach, expect, test } from '@jest/globals';
import { context, ROOT_CONTEXT, SpanStatusCode, TraceFlags, trace } from '@opentelemetry/api';
import type { ReadableSpan, SpanExporter } from '@opentelemetry/sdk-trace';
import { waitFor } from '#testing/wait-for.js';
import { Log } from './log.js';
import { inSpan, startTracing } from './tracing.js';

afterEach(() => {
  trace.disable();
  context.disable();
});

const all = { ratio: 1 };

function collecting() {
  const spans: ReadableSpan[] = [];
  const exporter: SpanExporter = {
    export: (batch, done) => {
      spans.push(...batch);
      done({ code: 0 });
    },
    shutdown: async () => {},
  };
  return { spans, exporter };
}

const foreign = (traceFlags: TraceFlags) =>
  trace.setSpanContext(ROOT_CONTEXT, {
    traceId: '4bf92f3577b34da6a3ce929d0e0e4736',
    spanId: '00f067aa0ba902b7',
    traceFlags,
    isRemote: true,
  });

test('one trace over timers, callbacks, streams and other async storage, with the parents in order', async () => {
  const { spans, exporter } = collecting();
  const tracing = startTracing({ service: 'planner', version: '1.2.3', attributes: { mesh: 'm' }, exporter, ...all });
  const storage = new AsyncLocalStorage<string>();
  await inSpan('handle', { parent: foreign(TraceFlags.SAMPLED) }, async () => {
    await pause(1);
    await storage.run('tx', async () => {
      await inSpan('transaction', {}, async () => {
        await new Promise((resolve) => setTimeout(resolve, 1));
        await new Promise<void>((resolve) => {
          new Writable({ write: (_, __, done) => inSpan('write', {}, async () => done()).then(resolve) }).write('x');
        });
        expect(storage.getStore()).toBe('tx');
      });
    });
  });
  await inSpan('unrelated', {}, async () => {});
  await tracing.shutdown();

  const [handle, transaction, write, unrelated] = spans;
  // Parents first, so that what arrives of a tree hangs together.
  expect(spans.map((span) => span.name)).toEqual(['handle', 'transaction', 'write', 'unrelated']);
  expect(handle!.parentSpanContext!.spanId).toBe('00f067aa0ba902b7');
  expect(transaction!.parentSpanContext!.spanId).toBe(handle!.spanContext().spanId);
  expect(write!.parentSpanContext!.spanId).toBe(transaction!.spanContext().spanId);
  expect(write!.spanContext().traceId).toBe('4bf92f3577b34da6a3ce929d0e0e4736');
  expect(unrelated!.parentSpanContext).toBeUndefined();
  expect(handle!.resource.attributes).toEqual({
    'service.name': 'planner',
    'service.version': '1.2.3',
    'service.instance.id': expect.stringMatching(new RegExp(`:${process.pid}$`)),
    mesh: 'm',
  });
});

test('what began at a caller who does not sample is not kept', async () => {
  const { spans, exporter } = collecting();
  const tracing = startTracing({ service: 'planner', exporter, ...all });
  await inSpan('handle', { parent: foreign(TraceFlags.NONE) }, async () => {});
  await tracing.shutdown();
  expect(spans).toEqual([]);
});

test('a span tells how its work failed, without secrets, and the error goes on', async () => {
  const { spans, exporter } = collecting();
  const tracing = startTracing({ service: 'planner', exporter, ...all });
  const error = Object.assign(new Error('no answer from amqp://mesh:hunter2@broker'), { code: 'ECONNREFUSED' });
  await expect(inSpan('send', {}, () => Promise.reject(error))).rejects.toBe(error);
  await expect(inSpan('send', {}, () => Promise.reject('a text'))).rejects.toBe('a text');
  await tracing.shutdown();

  expect(spans[0]!.status).toEqual({
    code: SpanStatusCode.ERROR,
    message: 'no answer from amqp://[secret]@broker',
  });
  expect(spans[0]!.attributes).toEqual({ 'error.type': 'ECONNREFUSED' });
  expect(JSON.stringify(spans[0]!.events)).not.toContain('hunter2');
  expect(spans[1]!.status).toEqual({ code: SpanStatusCode.ERROR, message: 'a text' });
});

test('without a collector the lines of one request still share a trace id, and say which span they are of', async () => {
  startTracing({ service: 'planner' });
  const lines: Record<string, string>[] = [];
  const destination = new Writable({ write: (line, _, done) => done(void lines.push(JSON.parse(String(line)))) });
  const log = new Log({ service: 'planner', destination });
  log.info('outside');
  await inSpan('handle', {}, async () => {
    log.info('before');
    await pause(1);
    await inSpan('transaction', {}, async () => log.info('inside'));
  });
  await inSpan('handle', { parent: foreign(TraceFlags.SAMPLED) }, async () => log.info('of a caller'));

  const [outside, before, inside, ofCaller] = lines;
  expect(outside).not.toHaveProperty('traceId');
  expect(before!.traceId).toMatch(/^[0-9a-f]{32}$/);
  expect(inside!.traceId).toBe(before!.traceId);
  expect(inside!.spanId).not.toBe(before!.spanId);
  expect(ofCaller!.traceId).toBe('4bf92f3577b34da6a3ce929d0e0e4736');
});

test('spans arrive at a collector, and nothing but spans is sent', async () => {
  const calls: string[] = [];
  const collector = createServer((request, response) => {
    calls.push(`${request.method} ${request.url}`);
    request.resume().on('end', () => response.end('{}'));
  }).listen(0, '127.0.0.1');
  await once(collector, 'listening');
  const tracing = startTracing({ service: 'planner', endpoint: urlOf(collector), ...all });
  await inSpan('handle', {}, async () => {});
  await tracing.shutdown();
  collector.close();
  expect(calls).toEqual(['POST /v1/traces']);
});

test('a collector that does not answer delays a stop by 3 s at most', async () => {
  const held: ServerResponse[] = [];
  const silent = createServer((_, response) => void held.push(response)).listen(0, '127.0.0.1');
  await once(silent, 'listening');
  const tracing = startTracing({ service: 'planner', endpoint: urlOf(silent), ...all });
  await inSpan('handle', {}, async () => {});
  const start = Date.now();
  await tracing.shutdown();
  expect(Date.now() - start).toBeLessThan(4_000);
  expect(held).toHaveLength(1);
  held[0]!.end('{}');
  silent.close();
});

test('that spans are lost is said when it begins and when it ends, not for each batch', async () => {
  let away = true;
  let batches = 0;
  const said: string[] = [];
  const exporter: SpanExporter = {
    export: (_, done) => {
      batches += 1;
      done(away ? { code: 1, error: new Error('refused') } : { code: 0 });
    },
    shutdown: async () => {},
  };
  const tracing = startTracing({
    service: 'planner',
    exporter,
    ...all,
    onTrouble: (what, error) => said.push(error ? `${what}: ${(error as Error).message}` : what),
  });
  const exportBatch = async (count: number) => {
    // So many are a full batch, which is exported at once.
    for (let i = 0; i < 512; i += 1) await inSpan('one', {}, async () => {});
    await waitFor(`batch ${count} to be exported`, () => batches === count);
  };
  await exportBatch(1);
  await exportBatch(2);
  away = false;
  await exportBatch(3);
  await tracing.shutdown();
  expect(said).toEqual(['spans are lost: the collector does not take them: refused', 'spans arrive again']);
});

function urlOf(server: ReturnType<typeof createServer>): string {
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
}
