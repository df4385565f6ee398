import { createHash, randomBytes } from 'node:crypto';
import {
  type Attributes,
  type Context,
  context,
  createContextKey,
  ROOT_CONTEXT,
  type SpanContext,
  type SpanKind,
  TraceFlags,
  trace,
} from '@opentelemetry/api';
import { traceparentOf } from './traceparent.js';
import { flushSpans, isKept, markSpan } from './tracing.js';

export interface OriginOptions {
  readonly kind: SpanKind;
  readonly attributes: Attributes;
  /** The same source gives the same trace, whoever sees it begin and however often; absent: a new one. */
  readonly source?: string;
  /** False: as many are kept as the ratio says. */
  readonly always: boolean;
}

/**
 * Where a trace begins that nobody began before us: a span of no length, of which all that follows hangs, as it would of
 * a caller's (decision 0010). It has to be told before anything is committed that points to it.
 */
export class Origin {
  readonly context: SpanContext;
  private readonly at = Date.now();
  private told: Promise<void> | undefined;

  constructor(
    private readonly name: string,
    private readonly options: OriginOptions,
  ) {
    const { source, always } = options;
    const bytes = source === undefined ? randomBytes(24) : createHash('sha256').update(source).digest();
    const traceId = bytes.toString('hex', 0, 16);
    this.context = {
      traceId,
      spanId: bytes.toString('hex', 16, 24),
      traceFlags: always || isKept(traceId) ? TraceFlags.SAMPLED : TraceFlags.NONE,
      isRemote: true,
    };
  }

  get traceparent(): string {
    return traceparentOf(this.context)!;
  }

  /** Once, with what is known by now of the operation. Resolves when the collector has it, as far as `flushSpans` waits. */
  tell(): Promise<void> {
    this.told ??= this.export();
    return this.told;
  }

  private async export(): Promise<void> {
    if (this.context.traceFlags !== TraceFlags.SAMPLED) return;
    markSpan(this.name, this.context, { ...this.options, at: this.at });
    await flushSpans();
  }
}

const originKey = createContextKey('origin');

/** A context in which everything hangs of the origin. */
export function below(origin: Origin): Context {
  return trace.setSpanContext(ROOT_CONTEXT, origin.context).setValue(originKey, origin);
}

/** Where the present trace began, if it was here and not at a caller's. */
export function originNow(): Origin | undefined {
  return context.active().getValue(originKey) as Origin | undefined;
}
