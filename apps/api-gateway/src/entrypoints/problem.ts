import { type ArgumentsHost, Catch, type ExceptionFilter, HttpException } from '@nestjs/common';
import type { Log } from '#observability/index.js';

/** RFC 9457, with what the caller needs to go on: a code, whose fault it is, and the next step. */
export class Problem extends HttpException {
  constructor(
    status: number,
    readonly code: string,
    readonly title: string,
    readonly next: string,
    readonly detail?: string,
  ) {
    super(title, status);
  }
}

interface Answer {
  status(code: number): Answer;
  type(contentType: string): Answer;
  json(body: unknown): void;
}

const known: Readonly<Record<number, [code: string, title: string, next: string]>> = {
  400: ['bad-request', 'The request cannot be read', 'Send JSON as the API describes it.'],
  404: ['not-found', 'There is nothing at this address', 'Check the path; instances are at /v1/instances/{id}.'],
  413: ['body-too-large', 'The body is too large', 'Send at most 100 kB.'],
};

/** Every error leaves as application/problem+json; one that is ours says nothing about the inside. */
@Catch()
export class ProblemFilter implements ExceptionFilter {
  constructor(private readonly log: Log) {}

  catch(error: unknown, host: ArgumentsHost): void {
    const answer = host.switchToHttp().getResponse<Answer>();
    const problem = this.problemOf(error);
    const status = problem.getStatus();
    if (status >= 500) this.log.error('request failed', { error });
    answer
      .status(status)
      .type('application/problem+json')
      .json({
        type: 'about:blank',
        status,
        title: problem.title,
        ...(problem.detail && { detail: problem.detail }),
        code: problem.code,
        fault: status >= 500 ? 'platform' : 'user',
        next: problem.next,
      });
  }

  private problemOf(error: unknown): Problem {
    if (error instanceof Problem) return error;
    const status = error instanceof HttpException ? error.getStatus() : (error as { status?: unknown })?.status;
    if (typeof status === 'number' && status >= 400 && status < 500) {
      const [code, title, next] = known[status] ?? known[400]!;
      return new Problem(status, code, title, next);
    }
    return new Problem(
      500,
      'internal',
      'The mesh could not answer',
      'Try again in a moment; the operator can see why.',
    );
  }
}
