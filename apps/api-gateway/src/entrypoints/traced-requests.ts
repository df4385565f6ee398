import { type CallHandler, type ExecutionContext, Injectable, type NestInterceptor } from '@nestjs/common';
import { type Context, context, ROOT_CONTEXT, type Span, SpanKind, SpanStatusCode, trace } from '@opentelemetry/api';
import { Observable } from 'rxjs';
import { z } from 'zod';
import { about, below, contextOf, Origin, spanContextOf } from '#observability/index.js';
import { routeOf } from './route.js';

interface Asked {
  readonly method: string;
  readonly headers: Readonly<Record<string, string | undefined>>;
  readonly params: Readonly<Record<string, string | undefined>>;
}

interface Answer {
  readonly statusCode: number;
  setHeader(name: string, value: string): void;
}

const reads = ['GET', 'HEAD', 'OPTIONS'];

/**
 * A span for each request to the API, below the caller's when it names one; its trace is told in the header `trace-id`.
 * A request that may change something and has no caller's trace begins one. Health and metrics have none, nor has a
 * stream of events, which would be open for hours; nor has who was turned away at the door.
 */
@Injectable()
export class TracedRequests implements NestInterceptor {
  intercept(execution: ExecutionContext, next: CallHandler): Observable<unknown> {
    const route = routeOf(execution.getHandler());
    if (!route || route.stream) return next.handle();
    const asked = execution.switchToHttp().getRequest<Asked>();
    const answer = execution.switchToHttp().getResponse<Answer>();
    const attributes = { 'http.request.method': asked.method, 'http.route': route.path };
    const name = `${asked.method} ${route.path}`;
    const origin = beginsTrace(asked)
      ? new Origin(`receive ${name}`, { kind: SpanKind.INTERNAL, attributes, always: true })
      : undefined;

    const parent = about(
      { instanceId: z.uuid().safeParse(asked.params.instanceId).data },
      origin ? below(origin) : callerOf(asked),
    );
    return new Observable((subscriber) => {
      const span = trace.getTracer('mesh.http').startSpan(name, { kind: SpanKind.SERVER, attributes }, parent);
      answer.setHeader('trace-id', span.spanContext().traceId);
      const end = (status: number) =>
        context.with(parent, () => {
          // Before the span that hangs of it, when nothing was said that would have told it.
          void origin?.tell();
          endOf(span, status);
        });
      return context.with(trace.setSpan(parent, span), () =>
        next.handle().subscribe({
          next: (value) => subscriber.next(value),
          complete: () => {
            end(answer.statusCode);
            subscriber.complete();
          },
          error: (error) => {
            end(statusOf(error));
            subscriber.error(error);
          },
        }),
      );
    });
  }
}

function beginsTrace({ method, headers }: Asked): boolean {
  return !reads.includes(method) && !spanContextOf(headers.traceparent);
}

function callerOf({ headers }: Asked): Context {
  return headers.traceparent ? contextOf(headers.traceparent) : ROOT_CONTEXT;
}

function statusOf(error: unknown): number {
  const { getStatus } = error as { getStatus?: () => number };
  return getStatus?.call(error) ?? 500;
}

function endOf(span: Span, status: number): void {
  span.setAttribute('http.response.status_code', status);
  if (status >= 500) {
    span.setAttribute('error.type', String(status));
    span.setStatus({ code: SpanStatusCode.ERROR });
  }
  span.end();
}
