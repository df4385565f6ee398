import { type ArgumentsHost, Catch, type ExceptionFilter, HttpException } from '@nestjs/common';
import type { Log } from '#observability/index.js';

/** Code → status, what went wrong, and the next step. All that the API can answer instead of what was asked for. */
export const problems = {
  'bad-request': [400, 'The request cannot be read', 'Send JSON as the API describes it: /v1/openapi.json.'],
  invalid: [400, 'The request does not fit', 'Mend the fields that are named.'],
  'no-key': [401, 'A key is needed', 'Send the header Authorization: Bearer <key>, with a key that has not ended.'],
  'not-allowed': [403, 'This key has not the right', 'Use a key with the role and scope that are named.'],
  'other-customer': [403, 'This key is for another customer', 'Leave customerId to the customer of the key.'],
  'not-found': [404, 'There is nothing at this address', 'Look for the path in /v1/openapi.json.'],
  'unknown-instance': [404, 'There is no such instance', 'List them at /v1/instances.'],
  'unknown-operation': [
    404,
    'There is no such operation',
    'Its id is the `operationId` of the answer, or the id of the message that asked.',
  ],
  'unknown-backup': [
    404,
    'There is no such backup',
    'List those of an instance at /v1/instances/{instanceId}/backups; one that was made just now shows in a moment.',
  ],
  'unknown-restore': [404, 'There is no such restore', 'Its id is the `restoreId` of the answer to the request.'],
  'unknown-message': [404, 'There is no such parked message', 'List them at /v1/parked-messages.'],
  'unknown-cell': [404, 'There is no such cell', 'List them at /v1/cells.'],
  'unknown-key': [404, 'There is no such key', 'List them at /v1/api-keys.'],
  'method-not-allowed': [405, 'This address does not know the method', 'The header Allow names those it knows.'],
  'slug-taken': [409, 'Another instance has this name', 'Choose another slug.'],
  'instance-exists': [
    409,
    'There is an instance of this id',
    'Look at it; to repeat a request safely, send the same Idempotency-Key with it.',
  ],
  'nothing-before': [
    409,
    'It has no former footprint that is kept',
    'Restore it from a backup instead; what it lived in before is kept for a while only.',
  ],
  'backup-of-another': [
    409,
    'This backup is of another instance',
    'Take one of those at /v1/instances/{instanceId}/backups.',
  ],
  'backup-not-there': [
    409,
    'There is nothing of this backup that could be restored',
    'Wait until it is made, or take another one.',
  ],
  'already-settled': [409, 'Somebody has decided about it', 'Look at its status.'],
  'not-replayable': [409, 'It cannot be put back', 'Discard it, or mend its cause.'],
  'key-ended': [409, 'This key has ended', 'Make a new one at /v1/api-keys.'],
  'body-too-large': [413, 'The body is too large', 'Send at most 100 kB.'],
  'unsupported-media-type': [415, 'The body is not JSON', 'Send it with Content-Type: application/json.'],
  'idempotency-key-reused': [
    422,
    'This Idempotency-Key came with another request',
    'Use a new key for each new request, and the same key only to repeat one word for word.',
  ],
  'target-misplaced': [
    422,
    'A clone says in `to` which instance it is to be, and nothing else does',
    'Send `to` with the mode clone, and leave it out with the others.',
  ],
  'too-many-requests': [429, 'Too many requests', 'Wait as long as the header Retry-After says.'],
  internal: [
    500,
    'The mesh could not answer',
    'Try again in a moment; the operator finds the cause by the request id.',
  ],
  'too-many-streams': [503, 'Too many event streams are open', 'Close some, or try again in a moment.'],
} as const satisfies Readonly<Record<string, readonly [status: number, title: string, next: string]>>;

export type ProblemCode = keyof typeof problems;

export const problemCodes = Object.keys(problems) as readonly ProblemCode[];

/** RFC 9457, with what the caller needs to go on: a code, whose fault it is, and the next step. */
export class Problem extends HttpException {
  constructor(
    readonly code: ProblemCode,
    /** About this request; leaves the service, so without its secrets. */
    readonly detail?: string,
    readonly headers: Readonly<Record<string, string>> = {},
  ) {
    super(problems[code][1], problems[code][0]);
  }

  /** @param requestId what the answer's header X-Request-Id says. */
  body(requestId: string | undefined) {
    const [status, title, next] = problems[this.code];
    return {
      type: `urn:odoo-mesh:problem:${this.code}`,
      status,
      title,
      ...(this.detail && { detail: this.detail }),
      ...(requestId && { instance: `urn:uuid:${requestId}` }),
      code: this.code,
      fault: status >= 500 ? 'platform' : 'user',
      next,
    };
  }
}

interface Request {
  readonly method: string;
  readonly path: string;
}

interface Answer {
  readonly headersSent: boolean;
  status(code: number): Answer;
  set(header: string, value: string): Answer;
  getHeader(name: string): unknown;
  json(body: unknown): void;
  end(): void;
}

/** What the HTTP layer below found. */
const ofStatus: Readonly<Record<number, ProblemCode>> = {
  404: 'not-found',
  413: 'body-too-large',
  415: 'unsupported-media-type',
};

/** Every error leaves as application/problem+json; one that is ours says nothing about the inside. */
@Catch()
export class ProblemFilter implements ExceptionFilter {
  /** @param allowed the methods that an address knows; empty when there is nothing at it. */
  constructor(
    private readonly log: Log,
    private readonly allowed: (path: string) => readonly string[],
  ) {}

  catch(error: unknown, host: ArgumentsHost): void {
    const request = host.switchToHttp().getRequest<Request>();
    sendProblem(host.switchToHttp().getResponse<Answer>(), this.problemOf(error, request.path), (requestId) =>
      this.log.error('request failed', { error, requestId, method: request.method, path: request.path }),
    );
  }

  private problemOf(error: unknown, path: string): Problem {
    if (error instanceof Problem) return error;
    const status = error instanceof HttpException ? error.getStatus() : (error as { status?: unknown })?.status;
    if (typeof status !== 'number' || status < 400 || status >= 500) return new Problem('internal');
    const methods = status === 404 ? this.allowed(path) : [];
    if (methods.length > 0) return new Problem('method-not-allowed', undefined, { Allow: methods.join(', ') });
    return new Problem(ofStatus[status] ?? 'bad-request');
  }
}

/** @param onOurs called when the fault is ours. */
export function sendProblem(answer: Answer, problem: Problem, onOurs: (requestId: string | undefined) => void): void {
  const id = answer.getHeader('x-request-id');
  const requestId = typeof id === 'string' ? id : undefined;
  if (problem.getStatus() >= 500) onOurs(requestId);
  // A stream that has begun can only be cut.
  if (answer.headersSent) {
    answer.end();
    return;
  }
  if (problem.code === 'no-key') answer.set('WWW-Authenticate', 'Bearer');
  for (const [header, value] of Object.entries(problem.headers)) answer.set(header, value);
  answer.status(problem.getStatus()).set('Content-Type', 'application/problem+json').json(problem.body(requestId));
}
