import {
  type Attributes,
  type Context,
  context,
  type Link,
  type Span,
  type SpanKind,
  SpanStatusCode,
  trace,
} from '@opentelemetry/api';
import { AsyncLocalStorageContextManager } from '@opentelemetry/context-async-hooks';
import { OTLPTraceExporter } from '@opentelemetry/exporter-trace-otlp-http';
import { resourceFromAttributes } from '@opentelemetry/resources';
import {
  AlwaysOffSampler,
  AlwaysOnSampler,
  BatchSpanProcessor,
  type SpanExporter,
  TracerProvider,
} from '@opentelemetry/sdk-trace';
import { textWithoutSecrets } from './without-secrets.js';

export interface TracingOptions {
  readonly service: string;
  readonly version?: string;
  /** An OTLP/HTTP collector, `http://host:4318`. Without it nothing is exported. */
  readonly endpoint?: string | undefined;
  /** Of every span, for instance the name of the mesh. */
  readonly attributes?: Attributes;
  /** In the place of the one to `endpoint`. */
  readonly exporter?: SpanExporter;
  /** Told when spans begin to be lost and when they arrive again, not for each lost batch. */
  readonly onTrouble?: (what: string, error?: unknown) => void;
}

export interface Tracing {
  /** Sends the last spans, for at most 3 s; never throws: a collector that is away must not spoil a stop. */
  shutdown(): Promise<void>;
}

const lastSpansWithinMs = 3_000;

/**
 * Starts tracing for the whole process; once, first of all. Without a collector there still are trace and span ids, so
 * that the log lines of one request can be found and messages carry their context on, and nothing else is paid for.
 * With one every span is kept, also below a foreign parent that was not sampled: each operation has to be traceable.
 * (The parts and not `NodeSDK`: that one also starts exporters of metrics and logs to localhost when nobody asks.)
 */
export function startTracing(options: TracingOptions): Tracing {
  const { service, version, endpoint, attributes, onTrouble } = options;
  const exporter = options.exporter ?? (endpoint && new OTLPTraceExporter({ url: `${endpoint}/v1/traces` }));
  const provider = new TracerProvider({
    resource: resourceFromAttributes({
      'service.name': service,
      ...(version && { 'service.version': version }),
      ...attributes,
    }),
    sampler: exporter ? new AlwaysOnSampler() : new AlwaysOffSampler(),
    spanProcessors: exporter ? [new BatchSpanProcessor({ exporter: tellingOfTrouble(exporter, onTrouble) })] : [],
  });
  context.setGlobalContextManager(new AsyncLocalStorageContextManager().enable());
  trace.setGlobalTracerProvider(provider);
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

function tellingOfTrouble(exporter: SpanExporter, onTrouble: TracingOptions['onTrouble']): SpanExporter {
  let losing = false;
  return {
    export: (spans, done) =>
      exporter.export(spans, (result) => {
        const failed = result.error !== undefined || result.code !== 0;
        if (failed && !losing) onTrouble?.('spans are lost: the collector does not take them', result.error);
        if (!failed && losing) onTrouble?.('spans arrive again');
        losing = failed;
        done(result);
      }),
    shutdown: () => exporter.shutdown(),
    ...(exporter.forceFlush && { forceFlush: () => exporter.forceFlush!() }),
  };
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

function recordFailure(span: Span, thrown: unknown): void {
  const error: Error & { readonly code?: unknown } = thrown instanceof Error ? thrown : new Error(String(thrown));
  const message = textWithoutSecrets(error.message);
  span.setAttribute('error.type', error.code === undefined ? error.name : String(error.code));
  span.recordException({ name: error.name, message });
  span.setStatus({ code: SpanStatusCode.ERROR, message });
}
