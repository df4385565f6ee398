import { setTimeout as pause } from 'node:timers/promises';
import { buildConnector, type Dispatcher, Pool } from 'undici';
import type { Connection } from './connection.js';
import { TooManyRequests, Unreachable } from './errors.js';
import { KubernetesMetrics } from './metrics.js';
import { type Priority, TokenBucket } from './token-bucket.js';

export interface ApiServerOptions {
  /** Calls under way at once; each watch has a connection of its own beside them. */
  readonly connections?: number;
  /** From the moment a call may be made to the last byte of its answer. */
  readonly timeoutMs?: number;
  /** How long one call waits in all because the server said 429, before its caller hears of it. */
  readonly patienceMs?: number;
  readonly rate?: { readonly perSecond: number; readonly burst: number };
}

export interface CallOptions {
  readonly priority?: Priority;
  readonly signal?: AbortSignal;
  readonly timeoutMs?: number;
  /**
   * Called when the request is about to be written to its connection, each time it is. What it throws ends the call, and
   * nothing is sent: so a lease is looked at when it counts, and not before a wait for the bucket or a connection.
   */
  readonly fence?: () => void;
  /** Over the connections of the watches, whose death is noticed within seconds: for a reflector's lists. */
  readonly besideWatches?: boolean;
}

export interface Request extends CallOptions {
  readonly verb: string;
  /** For measurements: `Deployment`. */
  readonly kind: string;
  /** For messages: `Deployment mesh-c0/o0199…`. */
  readonly object: string;
  readonly method: 'GET' | 'POST' | 'PUT' | 'PATCH' | 'DELETE';
  readonly path: string;
  readonly body?: string;
  readonly contentType?: string;
}

export interface Answer {
  readonly status: number;
  readonly headers: Dispatcher.ResponseData['headers'];
  readonly text: string;
}

const readRetries = 2;
/** A watch's connection is asked this often whether it lives, and dead after this many questions without an answer. */
const pingMs = 1_000;
const silentPings = 3;
/** Longer than our calls are apart, shorter than the server's own limit: who closes first must be us. */
const keepAliveMs = 30_000;

/**
 * One API server over kept connections, in two pools, so that neither waits for the other. (The stock client opens a TLS
 * connection for each call, which costs four times the CPU.)
 *
 * Calls have HTTP/1.1, one at a time on each connection: that is the fastest, and their time limits find a dead one.
 * Watches share an HTTP/2 connection for its pings. A healthy watch may be silent for a minute, until the next bookmark,
 * and a call beside it only says that another connection works; but a ping has to be answered on this one, at once, and
 * costs the server 17 bytes. So a half-open connection is found in 4 s. Where something in between speaks no HTTP/2,
 * only the reflector's own limit on silence is left.
 *
 * 429 is flow control and waited out. A read whose connection broke is repeated; a change never, because nobody knows
 * whether it was made: the reconciler looks. A time-out is not repeated either.
 */
export class ApiServer {
  private readonly calls: Dispatcher;
  private readonly watches: Pool;
  private readonly bucket: TokenBucket;
  private readonly metrics = new KubernetesMetrics();

  constructor(
    private readonly connection: Connection,
    private readonly options: ApiServerOptions = {},
  ) {
    const pool = {
      pipelining: 1,
      keepAliveTimeout: keepAliveMs,
      headersTimeout: 0,
      bodyTimeout: 0,
    };
    this.calls = new Pool(connection.origin, {
      ...pool,
      connections: options.connections ?? 16,
      allowH2: false,
      connect: { ...connection.tls, timeout: 5_000 },
    }).compose(fenced);
    this.watches = new Pool(connection.origin, {
      ...pool,
      connections: null,
      allowH2: true,
      h2Options: { pingInterval: pingMs },
      connect: connectorOf(connection),
    });
    this.bucket = new TokenBucket(options.rate ?? { perSecond: 500, burst: 1_000 });
  }

  get url(): string {
    return this.connection.origin + this.connection.basePath;
  }

  /**
   * The server's answer, whatever its status (but for 429). Throws Unreachable when there was none, TooManyRequests
   * when patience ended, and the signal's reason when the caller gave up.
   */
  async send(request: Request): Promise<Answer> {
    const patientUntil = performance.now() + (this.options.patienceMs ?? 15_000);
    for (let broken = 0; ; ) {
      await this.bucket.take(request.priority ?? 'interactive', request.signal);
      let waitMs: number;
      try {
        const answer = await this.attempt(request);
        if (answer.status !== 429) return answer;
        const askedMs = retryAfterMs(answer.headers['retry-after']);
        waitMs = askedMs * (1 + Math.random() / 4);
        if (performance.now() + waitMs > patientUntil) throw tooMany(request, askedMs);
        this.metrics.retried(request.verb, request.kind, 'throttled');
      } catch (error) {
        if (!(error instanceof ConnectionBroke) || request.method !== 'GET' || broken++ === readRetries) throw error;
        waitMs = 100 * broken * (0.5 + Math.random());
        this.metrics.retried(request.verb, request.kind, 'broken');
      }
      await waitFor(waitMs, request.signal);
    }
  }

  /** The answer's head, and its body as it comes; the signal ends it. No time limit but for the head. */
  async stream(request: Request & { readonly signal: AbortSignal }): Promise<Dispatcher.ResponseData> {
    await this.bucket.take(request.priority ?? 'interactive', request.signal);
    return await this.measured(request, async () => {
      try {
        const { signal } = request;
        const head = { ...this.parts(request), signal, headersTimeout: this.timeoutOf(request) };
        return await orAborted(this.watches.request(head), signal);
      } catch (error) {
        throw this.noAnswer(request, error);
      }
    });
  }

  /** Lets calls under way end; watches are cut. */
  async close(): Promise<void> {
    await Promise.all([this.calls.close(), this.watches.destroy()]);
  }

  private async attempt(request: Request): Promise<Answer> {
    const timeoutMs = this.timeoutOf(request);
    const end = new AbortController();
    const giveUp = () => end.abort(request.signal!.reason);
    const timer = setTimeout(() => end.abort(new TimedOut(timeoutMs)), timeoutMs);
    request.signal?.addEventListener('abort', giveUp, { once: true });
    let refused: { readonly reason: unknown } | undefined;
    const { fence: asked } = request;
    const fence =
      asked &&
      (() => {
        try {
          asked();
        } catch (reason) {
          refused = { reason };
          throw reason;
        }
      });
    return await this.measured(request, async () => {
      try {
        const pool = request.besideWatches ? this.watches : this.calls;
        const call = { ...this.parts(request), signal: end.signal, fence };
        const response = await orAborted(pool.request(call), end.signal);
        const text = await response.body.text();
        return { statusCode: response.statusCode, status: response.statusCode, headers: response.headers, text };
      } catch (error) {
        if (refused) throw refused.reason;
        throw this.noAnswer(request, end.signal.aborted ? end.signal.reason : error);
      } finally {
        clearTimeout(timer);
        request.signal?.removeEventListener('abort', giveUp);
      }
    });
  }

  private async measured<A extends { statusCode: number }>(request: Request, work: () => Promise<A>): Promise<A> {
    const begun = performance.now();
    let status = 0;
    try {
      const answer = await work();
      status = answer.statusCode;
      return answer;
    } finally {
      this.metrics.called(request.verb, request.kind, status, (performance.now() - begun) / 1_000);
    }
  }

  private parts({ method, path, body, contentType }: Request) {
    return {
      method,
      path: this.connection.basePath + path,
      headers: {
        ...this.connection.headers,
        ...(body !== undefined && { 'content-type': contentType ?? 'application/json' }),
      },
      body: body ?? null,
      // Else undici gives up the connection after each DELETE that has a body, which ours have; the API server reads it.
      reset: false,
    };
  }

  private timeoutOf(request: Request): number {
    return request.timeoutMs ?? this.options.timeoutMs ?? 15_000;
  }

  private noAnswer({ verb, object, signal }: Request, error: unknown): unknown {
    if (signal?.aborted) return signal.reason;
    const message = `no answer from ${this.connection.origin}: ${describeFault(error)}`;
    const Fault = error instanceof TimedOut ? Unreachable : ConnectionBroke;
    return new Fault({ verb, object, message }, { cause: error });
  }
}

/**
 * TLS with HTTP/2 where the server has it. undici sends the pings and waits for their answers as long as it takes; here
 * is seen whether anything comes. Counted in looks and not by the clock, because a process that was stopped for a while
 * must read what came meanwhile before it judges.
 */
function connectorOf({ tls }: Connection): buildConnector.connector {
  const connect = buildConnector({ ...tls, timeout: 2_500, allowH2: true, preferH2: true });
  return (options, callback) =>
    connect(options, (...[error, socket]) => {
      if (error) return callback(error, null);
      if ('alpnProtocol' in socket && socket.alpnProtocol === 'h2') {
        let heard = 0;
        let silent = 0;
        const look = setInterval(() => {
          silent = socket.bytesRead === heard ? silent + 1 : 0;
          heard = socket.bytesRead;
          if (silent === silentPings) socket.destroy(new Error(`${silentPings} pings were not answered`));
        }, pingMs).unref();
        socket.once('close', () => clearInterval(look));
      }
      callback(null, socket);
    });
}

/** The kind of Unreachable after which a read may be asked again at once. */
class ConnectionBroke extends Unreachable {
  constructor(...args: ConstructorParameters<typeof Unreachable>) {
    super(...args);
    this.name = Unreachable.name;
  }
}

class TimedOut extends Error {
  constructor(timeoutMs: number) {
    super(`nothing within ${timeoutMs} ms`);
  }
}

function tooMany({ verb, object }: Request, askedMs: number): TooManyRequests {
  const message = `the server asks for fewer requests and to wait ${Math.ceil(askedMs / 1_000)} s`;
  return new TooManyRequests({ verb, object, message, status: 429 }, askedMs);
}

/** The server says seconds; 1 s where it says nothing that can be read. */
export function retryAfterMs(header: string | string[] | undefined): number {
  const seconds = Number(header ?? 'none');
  return Number.isFinite(seconds) && seconds >= 0 ? Math.max(seconds * 1_000, 50) : 1_000;
}

/** undici heeds the signal of a request only once it has a connection for it. Until then it is not sent, nor after. */
async function orAborted<T>(work: Promise<T>, signal: AbortSignal): Promise<T> {
  let giveUp: (() => void) | undefined;
  const aborted = new Promise<never>((_, reject) => {
    giveUp = () => reject(signal.reason);
    signal.addEventListener('abort', giveUp, { once: true });
  });
  try {
    return await Promise.race([work, aborted]);
  } finally {
    signal.removeEventListener('abort', giveUp!);
  }
}

async function waitFor(ms: number, signal: AbortSignal | undefined): Promise<void> {
  try {
    await pause(ms, undefined, { signal });
  } catch {
    throw signal?.reason;
  }
}

function describeFault(error: unknown): string {
  const { message, code } = error as { message?: string; code?: string };
  return message || code || 'the connection broke';
}

/** undici tells when it has a connection and writes; a request that is aborted then is not written. */
const fenced: Dispatcher.DispatcherComposeInterceptor = (dispatch) => (options, handler) => {
  const { fence } = options as { fence?: () => void };
  const start = handler.onRequestStart;
  // Each request has a handler of its own.
  if (fence)
    handler.onRequestStart = (controller, context) => {
      start?.call(handler, controller, context);
      try {
        fence();
      } catch (error) {
        controller.abort(error as Error);
      }
    };
  return dispatch(options, handler);
};
