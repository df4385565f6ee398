import { type Span as ApiSpan, type Context, trace } from '@opentelemetry/api';
import type { ReadableSpan, Span, SpanProcessor } from '@opentelemetry/sdk-trace';

/** The spans below one that has no parent in this process, itself included. */
interface Tree {
  readonly root: Span;
  /** In the order of their start, so a parent comes before its children. */
  readonly spans: Span[];
  open: number;
}

const forgotten = new WeakSet<ApiSpan>();

/** Nothing happened in this span that anybody will look for: neither it nor what is below it leaves the process. */
export function forget(span: ApiSpan): void {
  forgotten.add(span);
}

/** The same of the span that is the current one. */
export function forgetThisRun(): void {
  const span = trace.getActiveSpan();
  if (span) forget(span);
}

/**
 * Hands spans on when all of their tree have ended, parents first. A process that is killed in the middle takes the
 * whole tree with it: no span arrives whose parent in this process never will.
 */
export class WholeTrees implements SpanProcessor {
  /** By the id of each span in them. */
  private readonly trees = new Map<string, Tree>();

  constructor(private readonly next: SpanProcessor) {}

  onStart(span: Span, parent: Context): void {
    this.next.onStart(span, parent);
    const above = span.parentSpanContext;
    const tree = (above && !above.isRemote && this.trees.get(above.spanId)) || { root: span, spans: [], open: 0 };
    tree.spans.push(span);
    tree.open += 1;
    this.trees.set(span.spanContext().spanId, tree);
  }

  onEnd(span: ReadableSpan): void {
    const tree = this.trees.get(span.spanContext().spanId);
    if (!tree) return;
    tree.open -= 1;
    if (tree.open > 0) return;
    for (const one of tree.spans) this.trees.delete(one.spanContext().spanId);
    if (forgotten.has(tree.root)) return;
    for (const one of tree.spans) this.next.onEnd(one);
  }

  async forceFlush(): Promise<void> {
    await this.next.forceFlush();
  }

  async shutdown(): Promise<void> {
    await this.next.shutdown();
  }
}
