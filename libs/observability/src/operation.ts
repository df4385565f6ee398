import { type Attributes, type Context, context, createContextKey } from '@opentelemetry/api';
import type { Span, SpanProcessor } from '@opentelemetry/sdk-trace';

/** What an operation is about, as it stands on each of its spans: `instance.id`, `customer.id`, `operation.id`. */
export interface About {
  readonly instanceId?: string | undefined;
  readonly customerId?: string | undefined;
  /** The id of the request that started it all. */
  readonly operationId?: string | undefined;
}

/** Filled while the work goes on: who makes an instance knows its id only then. */
interface Scope {
  known: About;
}

const scopeKey = createContextKey('what the operation is about');

/** A context whose spans are about this; what is learnt within it later is on them too. */
export function about(known: About, parent: Context = context.active()): Context {
  const scope: Scope = { known };
  return parent.setValue(scopeKey, scope);
}

/** What is known by now where we are. */
export function aboutNow(): About {
  return scopeOf(context.active())?.known ?? {};
}

/** For the spans of the present operation that did not end yet. What was known before stands. */
export function learn(more: About): void {
  const scope = scopeOf(context.active());
  if (!scope) return;
  const { instanceId, customerId, operationId } = scope.known;
  scope.known = {
    instanceId: instanceId ?? more.instanceId,
    customerId: customerId ?? more.customerId,
    operationId: operationId ?? more.operationId,
  };
}

export function attributesOf({ instanceId, customerId, operationId }: About): Attributes {
  return {
    ...(instanceId !== undefined && { 'instance.id': instanceId }),
    ...(customerId !== undefined && { 'customer.id': customerId }),
    ...(operationId !== undefined && { 'operation.id': operationId }),
  };
}

function scopeOf(where: Context): Scope | undefined {
  return where.getValue(scopeKey) as Scope | undefined;
}

/** Writes onto each span what its operation is about, as far as it is known when it ends. */
export class AboutSpans implements SpanProcessor {
  private readonly scopes = new WeakMap<Span, Scope>();

  onStart(span: Span, parent: Context): void {
    const scope = scopeOf(parent);
    if (scope) this.scopes.set(span, scope);
  }

  onEnding(span: Span): void {
    const scope = this.scopes.get(span);
    if (scope) span.setAttributes(attributesOf(scope.known));
  }

  onEnd(): void {}

  async forceFlush(): Promise<void> {}

  async shutdown(): Promise<void> {}
}
