import { setTimeout as pause } from 'node:timers/promises';
import { type Dispatcher, Pool } from 'undici';
import type { Connection } from './connection.js';
import { TooManyRequests, Unreachable } from './errors.js';
import { type Priority, TokenBucket } from './token-bucket.js';

export interface ApiServerOptions {
  /** Calls under way at once; each watch has a connection of its own beside them. */
  readonly connections?: number;
  /** From the moment a call may be made to the last byte of its answer. */
  readonly timeoutMs?: number;
  /** How long one call waits in all because the server said 429, before its caller hears of it. */
  readonly patienceMs?: number;
  readonly rate?: { readonly perSecond: number; readonly burst: number };
  /** After each attempt; must not throw. `status` is 0 when there was no answer. */
  readonly onCall?: (call: CallMeasure) => void;
}

export interface CallMeasure {
  readonly verb: string;
  /** As in URLs: `deployments`. */
  readonly resource: string;
  readonly status: number;
  readonly seconds: number;
}

export interface CallOptions {
  readonly priority?: Priority;
  readonly signal?: AbortSignal;
  readonly timeoutMs?: number;
}

export interface Request extends CallOptions {
  readonly verb: string;
  readonly resource: string;
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
/** Longer than our calls are apart, shorter than the server's own limit: who closes first must be us. */
const keepAliveMs = 30_000;

/**
 * One API server over kept connections: one pool for calls, one for watches, of which each holds a connection. (The
 * stock client opens a TLS connection for each call, which costs four times the CPU.)
 *
 * 429 is flow control and waited out. A read whose connection broke is repeated; a change never, because nobody knows
 * whether it was made: the reconciler looks. A time-out is not repeated either.
 */
export class ApiServer {
  private readonly calls: Pool;
  private readonly watches: Pool;
  private readonly bucket: TokenBucket;

  constructor(
    private readonly connection: Connection,
    private readonly options: ApiServerOptions = {},
  ) {
    const pool = {
      pipelining: 1,
      // One call a connection at a time was measured; over HTTP/2 all would share one, and a slow list stops the rest.
      allowH2: false,
      keepAliveTimeout: keepAliveMs,
      headersTimeout: 0,
      bodyTimeout: 0,
      connect: { ...connection.tls, timeout: 5_000 },
    };
    this.calls = new Pool(connection.origin, { ...pool, connections: options.connections ?? 16 });
    this.watches = new Pool(connection.origin, { ...pool, connections: null });
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
      } catch (error) {
        if (!(error instanceof ConnectionBroke) || request.method !== 'GET' || broken++ === readRetries) throw error;
        waitMs = 100 * broken * (0.5 + Math.random());
      }
      await waitFor(waitMs, request.signal);
    }
  }

  /** The answer's head, and its body as it comes; the signal ends it. No time limit but for the head. */
  async stream(request: Request & { readonly signal: AbortSignal }): Promise<Dispatcher.ResponseData> {
    await this.bucket.take(request.priority ?? 'interactive', request.signal);
    return await this.measured(request, async () => {
      try {
        return await this.watches.request({
          ...this.parts(request),
          signal: request.signal,
          headersTimeout: this.timeoutOf(request),
        });
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
    return await this.measured(request, async () => {
      try {
        const response = await this.calls.request({ ...this.parts(request), signal: end.signal });
        const text = await response.body.text();
        return { statusCode: response.statusCode, status: response.statusCode, headers: response.headers, text };
      } catch (error) {
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
      const { verb, resource } = request;
      this.options.onCall?.({ verb, resource, status, seconds: (performance.now() - begun) / 1_000 });
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
function retryAfterMs(header: string | string[] | undefined): number {
  const seconds = Number(header ?? 'none');
  return Number.isFinite(seconds) && seconds >= 0 ? Math.max(seconds * 1_000, 50) : 1_000;
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
