import type { IncomingMessage, ServerResponse } from 'node:http';
import { metrics } from '@opentelemetry/api';

/** A request as Express hands it on: `route` is there once one was found, whatever became of it then. */
type Request = IncomingMessage & { readonly route?: { readonly path?: unknown } };

/** What Express keeps of the routes that were declared. */
export interface Routes {
  readonly stack: readonly {
    readonly route?: { readonly path: unknown; readonly methods: Readonly<Record<string, boolean>> };
  }[];
}

const methods = new Set(['GET', 'HEAD', 'POST', 'PUT', 'PATCH', 'DELETE', 'OPTIONS']);

/**
 * Rate, errors and duration of HTTP requests, by the route's template and never by a path that somebody sent: what no
 * route was found for is `unknown`. Status is the class, `2xx` to `5xx`, or `aborted` when the caller left before the
 * answer was out. A stream of events has no duration.
 */
export class HttpMetrics {
  private readonly meter = metrics.getMeter('mesh.http');
  private readonly requests = this.meter.createCounter('mesh.http.requests', {
    description: 'HTTP requests that were answered, by route, method and class of status.',
  });
  private readonly durations = this.meter.createHistogram('mesh.http.request.duration.seconds', {
    description: 'From when a request was read to when its answer was out.',
    advice: { explicitBucketBoundaries: [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 10] },
  });

  /** To be called for every request before anything else is done with it. */
  readonly measure = (request: Request, response: ServerResponse, next: () => void): void => {
    const begun = performance.now();
    // Node remembers the headers that `writeHead` is given only where one was set before.
    response.setHeader('content-type', '');
    response.removeHeader('content-type');
    response.once('close', () => {
      const labels = { route: routeOf(request), method: methodOf(request) };
      this.requests.add(1, { ...labels, status: statusOf(response) });
      if (!String(response.getHeader('content-type') ?? '').startsWith('text/event-stream'))
        this.durations.record((performance.now() - begun) / 1_000, labels);
    });
    next();
  };

  /** Tells each declared route with zero, so that its first request and its first error are an increase. */
  startFromZero({ stack }: Routes): void {
    for (const { route } of stack)
      for (const method of Object.keys(route?.methods ?? {}))
        for (const status of ['2xx', '4xx', '5xx'])
          if (typeof route?.path === 'string')
            this.requests.add(0, { route: route.path, method: method.toUpperCase(), status });
  }
}

function routeOf({ route }: Request): string {
  return typeof route?.path === 'string' ? route.path : 'unknown';
}

function methodOf({ method = '' }: Request): string {
  return methods.has(method) ? method : 'other';
}

function statusOf(response: ServerResponse): string {
  if (!response.writableFinished) return 'aborted';
  return `${Math.floor(response.statusCode / 100)}xx`;
}
