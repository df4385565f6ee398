import { once } from 'node:events';
import { createServer, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterEach, expect, test } from '@jest/globals';
import { context, SpanKind, trace } from '@opentelemetry/api';
import type { ReadableSpan, SpanExporter } from '@opentelemetry/sdk-trace';
import { waitFor } from '#testing/wait-for.js';
import { about, aboutNow, learn } from './operation.js';
import { below, Origin, originNow } from './origin.js';
import { contextOf } from './traceparent.js';
import { flushSpans, inSpan, startTracing } from './tracing.js';
import { forget } from './whole-trees.js';

afterEach(() => {
  trace.disable();
  context.disable();
});

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

const begin = (source?: string, always = true) =>
  new Origin('receive', { kind: SpanKind.INTERNAL, attributes: {}, always, ...(source && { source }) });
const caller = contextOf('00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01');

test('what is learnt of an operation stands on all its spans that did not end before, and on no other’s', async () => {
  const { spans, exporter } = collecting();
  const tracing = startTracing({ service: 'gateway', exporter });
  await inSpan('request', { parent: about({ customerId: 'c' }, caller) }, async () => {
    await inSpan('early', {}, async () => {});
    learn({ instanceId: 'i', customerId: 'another', operationId: 'o' });
    expect(aboutNow()).toEqual({ instanceId: 'i', customerId: 'c', operationId: 'o' });
    await inSpan('late', {}, async () => {});
  });
  await inSpan('other', { parent: caller }, async () => {});
  await tracing.shutdown();
  const attributes = Object.fromEntries(spans.map((span) => [span.name, span.attributes]));
  const whole = { 'instance.id': 'i', 'customer.id': 'c', 'operation.id': 'o' };
  expect(attributes).toEqual({ early: { 'customer.id': 'c' }, late: whole, request: whole, other: {} });
});

test('no span leaves before all of its tree have ended', async () => {
  const { spans, exporter } = collecting();
  startTracing({ service: 'provisioner', exporter });
  await inSpan('run', { parent: caller }, async () => {
    await inSpan('part', {}, async () => {});
    await flushSpans();
    expect(spans).toEqual([]);
  });
  await flushSpans();
  expect(spans.map(({ name }) => name)).toEqual(['run', 'part']);
});

test('what outlives the span it began in is waited for', async () => {
  const { spans, exporter } = collecting();
  startTracing({ service: 'provisioner', exporter });
  const { promise, resolve: end } = Promise.withResolvers<void>();
  let late: Promise<void> | undefined;
  await inSpan('run', { parent: caller }, async () => {
    late = inSpan('late', {}, () => promise);
  });
  await flushSpans();
  expect(spans).toEqual([]);
  end();
  await late;
  await flushSpans();
  expect(spans.map(({ name }) => name)).toEqual(['run', 'late']);
});

test('a run in which nothing happened leaves nothing, nor what was in it', async () => {
  const { spans, exporter } = collecting();
  startTracing({ service: 'provisioner', exporter });
  await inSpan('poll', { parent: caller }, async (span) => {
    await inSpan('look', {}, async () => {});
    forget(span);
  });
  await inSpan('run', { parent: caller }, async () => {});
  await flushSpans();
  expect(spans.map(({ name }) => name)).toEqual(['run']);
});

test('the beginning of a trace is out when its telling resolves, and everything hangs of it', async () => {
  const { spans, exporter } = collecting();
  startTracing({ service: 'gateway', exporter });
  const origin = begin();
  await inSpan('request', { parent: about({ instanceId: 'i' }, below(origin)) }, async () => {
    expect(originNow()).toBe(origin);
    learn({ operationId: 'o' });
    await Promise.all([origin.tell(), origin.tell()]);
    expect(spans.map(({ name }) => name)).toEqual(['receive']);
  });
  await flushSpans();
  const [first, request] = spans;
  expect(first!.spanContext()).toMatchObject({ traceId: origin.context.traceId, spanId: origin.context.spanId });
  expect(first!.parentSpanContext).toBeUndefined();
  expect(first!.attributes).toEqual({ 'instance.id': 'i', 'operation.id': 'o' });
  expect(request!.parentSpanContext!.spanId).toBe(origin.context.spanId);
  expect(spans).toHaveLength(2);
});

test('one source begins one trace, however often it is seen; another begins another', () => {
  startTracing({ service: 'planner', ...collecting() });
  expect(begin('signup 1').traceparent).toBe(begin('signup 1').traceparent);
  expect(begin('signup 1').traceparent).not.toBe(begin('signup 2').traceparent);
  expect(begin().traceparent).not.toBe(begin().traceparent);
});

test('what no operation asked for is kept by the ratio, and its word goes along', async () => {
  const { spans, exporter } = collecting();
  startTracing({ service: 'planner', exporter, ratio: 0 });
  expect(begin('talk', false).traceparent).toMatch(/-00$/);
  await begin('talk', false).tell();
  await inSpan('read', {}, async () => {});
  expect(begin('talk').traceparent).toMatch(/-01$/);
  await begin('talk').tell();
  await flushSpans();
  expect(spans.map(({ name }) => name)).toEqual(['receive']);
});

test('where nothing is exported a trace begins all the same, for the others', async () => {
  startTracing({ service: 'planner' });
  const origin = begin();
  await origin.tell();
  expect(origin.traceparent).toMatch(/^00-[0-9a-f]{32}-[0-9a-f]{16}-01$/);
});

test('a collector that does not answer holds up the first who waits for it, and nobody after', async () => {
  const held: ServerResponse[] = [];
  const silent = createServer((_, response) => void held.push(response)).listen(0, '127.0.0.1');
  await once(silent, 'listening');
  const { port } = silent.address() as AddressInfo;
  const tracing = startTracing({ service: 'planner', endpoint: `http://127.0.0.1:${port}` });
  await begin().tell();
  await waitFor('the collector to be asked', () => held.length === 1);
  for (let n = 0; n < 1_000; n += 1) await begin().tell();
  expect(held).toHaveLength(1);
  silent.on('request', (_, response) => response.end('{}'));
  held[0]!.end('{}');
  await tracing.shutdown();
  silent.close();
});
