import { hostname } from 'node:os';
import {
  type Attributes,
  type Context,
  context,
  createContextKey,
  type Link,
  ROOT_CONTEXT,
  type Span,
  type SpanContext,
  type SpanKind,
  SpanStatusCode,
  trace,
} from '@opentelemetry/api';
import { AsyncLocalStorageContextManager } from '@opentelemetry/context-async-hooks';
import { OTLPTraceExporter } from '@opentelemetry/exporter-trace-otlp-http';
import { resourceFromAttributes } from '@opentelemetry/resources';
import {
  AlwaysOffSampler,
  BatchSpanProcessor,
  ParentBasedSampler,
  RandomIdGenerator,
  type Sampler,
  SamplingDecision,
  type SamplingResult,
  type SpanExporter,
  TraceIdRatioBasedSampler,
  TracerProvider,
} from '@opentelemetry/sdk-trace';
import { AboutSpans } from './operation.js';
import { type OnTrouble, SpanExport } from './span-export.js';
import { WholeTrees } from './whole-trees.js';
import { textWithoutSecrets } from './without-secrets.js';

export interface TracingOptions {
  readonly service: string;
  readonly version?: string;
  /** An OTLP/HTTP collector, `http://host:4318`. Without it nothing is exported. */
  readonly endpoint?: string | undefined;
  /** How much of what no operation asked for is kept, 0 to 1: reads, and what services tell each other of themselves. */
  readonly ratio?: number | undefined;
  /** Of every span, for instance the name of the mesh. */
  readonly attributes?: Attributes;
  /** In the place of the one to `endpoint`. */
  readonly exporter?: SpanExporter;
  readonly onTrouble?: OnTrouble;
}

export interface Tracing {
  /** Sends the last spans, for at most 3 s; never throws: a collector that is away must not spoil a stop. */
  shutdown(): Promise<void>;
}

const lastSpansWithinMs = 3_000;
/** What a killed process has not sent by then is lost. */
const exportEveryMs = 1_000;
/** A part of a tree that finds no room would leave the rest of it without a parent. */
const roomForSpans = 16_384;
const flushWithinMs = 500;
export const defaultRatio = 0.01;

/** What this process traces with. */
let current:
  | {
      readonly ids: ChosenIds;
      readonly ratio: TraceIdRatioBasedSampler;
      readonly processor: BatchSpanProcessor | undefined;
      readonly export: SpanExport | undefined;
      flushing: Promise<void> | undefined;
      /** A flush took too long: until spans arrive in time again nobody waits for them. */
      slow: boolean;
    }
  | undefined;

/**
 * Starts tracing for the whole process; once, first of all. Without a collector there still are trace and span ids, so
 * that the log lines of one request can be found and messages carry their context on, and nothing else is paid for.
 * Whether a trace is kept was decided where it began, and is kept to.
 * (The parts and not `NodeSDK`: that one also starts exporters of metrics and logs to localhost when nobody asks.)
 */
export function startTracing(options: TracingOptions): Tracing {
  const { service, version, endpoint, attributes, onTrouble } = options;
  const given = options.exporter ?? (endpoint && new OTLPTraceExporter({ url: `${endpoint}/v1/traces` }));
  const spanExport = given ? new SpanExport(given, onTrouble) : undefined;
  const processor =
    spanExport &&
    new BatchSpanProcessor({
      exporter: spanExport,
      scheduledDelayMillis: exportEveryMs,
      maxQueueSize: roomForSpans,
    });
  const ids = new ChosenIds();
  const ratio = new TraceIdRatioBasedSampler(options.ratio ?? defaultRatio);
  const provider = new TracerProvider({
    resource: resourceFromAttributes({
      'service.name': service,
      'service.instance.id': `${hostname()}:${process.pid}`,
      ...(version && { 'service.version': version }),
      ...attributes,
    }),
    idGenerator: ids,
    sampler: processor ? new ParentBasedSampler({ root: new RootSampler(ratio) }) : new AlwaysOffSampler(),
    spanProcessors: processor ? [new AboutSpans(), new WholeTrees(processor)] : [],
  });
  context.setGlobalContextManager(new AsyncLocalStorageContextManager().enable());
  trace.setGlobalTracerProvider(provider);
  current = { ids, ratio, processor, export: spanExport, flushing: undefined, slow: false };
  return {
    shutdown: () =>
      new Promise((resolve) => {
        const limit = setTimeout(resolve, lastSpansWithinMs);
        provider
          .shutdown()
          .catch((error) => onTrouble?.('last spans not sent', error))
          .finally(() => {
            clearTimeout(limit);
            resolve();
          });
      }),
  };
}

/**
 * Resolves when the collector has all spans that ended until now, so that whoever is killed afterwards has told them.
 * Waits for half a second at most, and not at all while the collector does not take spans: nobody's work depends on it.
 */
export async function flushSpans(): Promise<void> {
  const { processor, export: spanExport } = current ?? {};
  if (!current || !processor || !spanExport) return;
  const tracing = current;
  // Those who come while a batch is under way share the next one.
  tracing.flushing ??= spanExport.settled.then(async () => {
    tracing.flushing = undefined;
    await processor.forceFlush().catch(() => {}); // told by the export
    await spanExport.settled;
    tracing.slow = false;
  });
  const flushed = tracing.flushing;
  if (spanExport.inTrouble || tracing.slow) return;
  let limit: NodeJS.Timeout | undefined;
  const tooLong = new Promise<void>((resolve) => {
    limit = setTimeout(() => {
      tracing.slow = true;
      resolve();
    }, flushWithinMs);
  });
  await Promise.race([flushed, tooLong]);
  clearTimeout(limit);
}

/** Whether a trace that begins with this id is kept, where no operation asked for it. */
export function isKept(traceId: string): boolean {
  return current?.ratio.shouldSample(ROOT_CONTEXT, traceId).decision === SamplingDecision.RECORD_AND_SAMPLED;
}

/** Collectors complain of spans that end when they start. */
const shortestMs = 0.001;

/** A span without parent and of no length, with these ids. */
export function markSpan(
  name: string,
  { traceId, spanId }: SpanContext,
  options: { readonly kind: SpanKind; readonly attributes: Attributes; readonly at: number },
): void {
  if (!current?.processor) return;
  const { kind, attributes, at } = options;
  current.ids.next = { traceId, spanId };
  const decided = context.active().setValue(decidedKey, true);
  trace
    .getTracer('mesh')
    .startSpan(name, { kind, attributes, startTime: at, root: true }, decided)
    .end(at + shortestMs);
}

const decidedKey = createContextKey('this trace is kept');

class RootSampler implements Sampler {
  constructor(private readonly ratio: Sampler) {}

  shouldSample(...asked: Parameters<Sampler['shouldSample']>): SamplingResult {
    if (asked[0].getValue(decidedKey)) return { decision: SamplingDecision.RECORD_AND_SAMPLED };
    return this.ratio.shouldSample(...asked);
  }
}

/** Random ones, unless the next are given. */
class ChosenIds extends RandomIdGenerator {
  next: { readonly traceId: string; readonly spanId: string } | undefined;

  override generateTraceId(): string {
    const chosen = this.next?.traceId;
    this.next = undefined;
    return chosen ?? super.generateTraceId();
  }

  /** Asked first, so the choice is not used up by it. */
  override generateSpanId(): string {
    return this.next?.spanId ?? super.generateSpanId();
  }
}

/**
 * Runs `work` in a span, which is the current one for everything awaited in it, and ends it with what became of it.
 * What `work` throws is thrown on; the span gets its type and its message without secrets.
 */
export async function inSpan<T>(
  name: string,
  options: {
    readonly kind?: SpanKind;
    readonly attributes?: Attributes;
    readonly links?: Link[];
    /** Absent: the current one. */
    readonly parent?: Context;
  },
  work: (span: Span) => Promise<T>,
): Promise<T> {
  const { parent = context.active(), ...rest } = options;
  const span = trace.getTracer('mesh').startSpan(name, rest, parent);
  return await context.with(trace.setSpan(parent, span), async () => {
    try {
      return await work(span);
    } catch (error) {
      recordFailure(span, error);
      throw error;
    } finally {
      span.end();
    }
  });
}

/** Type and message of what was thrown, without secrets. */
export function recordFailure(span: Span, thrown: unknown): void {
  const error: Error & { readonly code?: unknown } = thrown instanceof Error ? thrown : new Error(String(thrown));
  const message = textWithoutSecrets(error.message);
  span.setAttribute('error.type', error.code === undefined ? error.name : String(error.code));
  span.recordException({ name: error.name, message });
  span.setStatus({ code: SpanStatusCode.ERROR, message });
}
