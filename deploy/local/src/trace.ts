/** One span as Jaeger keeps it. */
export interface TraceSpan {
  readonly traceId: string;
  readonly spanId: string;
  /** Undefined: it has none. */
  readonly parentId: string | undefined;
  readonly service: string;
  /** Which process of the service. */
  readonly process: string;
  readonly name: string;
  /** Microseconds since 1970. */
  readonly startUs: number;
  readonly durationUs: number;
  readonly attributes: Readonly<Record<string, unknown>>;
  /** The text of its events, as they came. */
  readonly events: string;
  /** Why it failed, if it did. */
  readonly error: string | undefined;
}

/** The spans of a trace that Jaeger has by now, each once, in the order of their start. Empty: it knows none. */
export async function readTrace(jaegerUrl: string, traceId: string): Promise<TraceSpan[]> {
  const response = await fetch(`${jaegerUrl}/api/v3/traces/${traceId}`, { signal: AbortSignal.timeout(10_000) });
  if (response.status === 404) {
    await response.body?.cancel();
    return [];
  }
  if (!response.ok) throw new Error(`Jaeger answers ${response.status}: ${(await response.text()).slice(0, 200)}`);
  const { result } = (await response.json()) as { result: Otlp };
  const spans = (result.resourceSpans ?? []).flatMap(({ resource, scopeSpans }) => {
    const of = valuesOf(resource.attributes);
    return scopeSpans.flatMap((scope) => scope.spans.map((span) => readSpan(span, of)));
  });
  // The beginning of a trace may be told twice, when whoever told it died; the first time counts.
  const once = new Map<string, TraceSpan>();
  for (const span of spans.sort((a, b) => a.startUs - b.startUs))
    if (!once.has(span.spanId)) once.set(span.spanId, span);
  return [...once.values()];
}

interface Attribute {
  readonly key: string;
  readonly value: Readonly<Record<string, unknown>>;
}

interface OtlpSpan {
  readonly traceId: string;
  readonly spanId: string;
  readonly parentSpanId?: string;
  readonly name: string;
  readonly startTimeUnixNano: string;
  readonly endTimeUnixNano: string;
  readonly attributes?: readonly Attribute[];
  readonly events?: readonly unknown[];
  readonly status?: { readonly code?: number | string; readonly message?: string };
}

interface Otlp {
  readonly resourceSpans?: readonly {
    readonly resource: { readonly attributes?: readonly Attribute[] };
    readonly scopeSpans: readonly { readonly spans: readonly OtlpSpan[] }[];
  }[];
}

function readSpan(span: OtlpSpan, resource: Readonly<Record<string, unknown>>): TraceSpan {
  const startUs = microseconds(span.startTimeUnixNano);
  const attributes = valuesOf(span.attributes);
  const failed = [2, 'STATUS_CODE_ERROR'].includes(span.status?.code ?? 0);
  return {
    traceId: span.traceId,
    spanId: span.spanId,
    parentId: span.parentSpanId || undefined,
    service: String(resource['service.name']),
    process: String(resource['service.instance.id']),
    name: span.name,
    startUs,
    durationUs: microseconds(span.endTimeUnixNano) - startUs,
    attributes,
    events: JSON.stringify(span.events ?? []),
    error: failed ? span.status?.message || String(attributes['error.type'] ?? 'failed') : undefined,
  };
}

function valuesOf(attributes: readonly Attribute[] = []): Record<string, unknown> {
  return Object.fromEntries(
    attributes.map(({ key, value }) => [key, 'intValue' in value ? Number(value.intValue) : Object.values(value)[0]]),
  );
}

function microseconds(nanoseconds: string): number {
  return Number(BigInt(nanoseconds) / 1_000n);
}
