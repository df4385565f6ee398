export interface CallFailure {
  readonly verb: string;
  /** For instance `Deployment mesh-c0/o0199…`. */
  readonly object: string;
  readonly status?: number;
  /** The API server's own words. */
  readonly message: string;
  readonly reason?: string;
}

/** Something the API server said, or that it could not be asked. Never carries a body: there may be secrets in it. */
export abstract class KubernetesError extends Error {
  abstract readonly retryable: boolean;

  constructor(readonly failure: CallFailure) {
    super(`${failure.verb} ${failure.object}: ${failure.message}`);
    this.name = new.target.name;
  }
}

/** The object changed since it was read, or is another one than was meant: read again. */
export class Conflict extends KubernetesError {
  readonly retryable = true;
}

export class AlreadyExists extends KubernetesError {
  readonly retryable = false;
}

export class NotFound extends KubernetesError {
  readonly retryable = false;
}

/** Not allowed: by rights, by admission, or by a quota (see `byQuota`). */
export class Forbidden extends KubernetesError {
  readonly retryable = false;

  get byQuota(): boolean {
    return /exceeded quota/.test(this.failure.message);
  }
}

/** The server does not take the object as it is. */
export class Invalid extends KubernetesError {
  readonly retryable = false;
}

/** Flow control, not a fault: ask again after this time. */
export class TooManyRequests extends KubernetesError {
  readonly retryable = true;

  constructor(
    failure: CallFailure,
    readonly retryAfterMs: number,
  ) {
    super(failure);
  }
}

/** What was asked for is no longer kept (410): list again. */
export class Gone extends KubernetesError {
  readonly retryable = true;
}

/** The server answered, but could not do it. Nothing is known about the object. */
export class ServerFault extends KubernetesError {
  readonly retryable = true;
}

/** No answer: nothing is known about the object, nor whether a change was made. */
export class Unreachable extends KubernetesError {
  readonly retryable = true;
}

/** @param body the Status object of the answer, if it was one. */
export function errorOf(failure: CallFailure, retryAfterSeconds: number | undefined): KubernetesError {
  const { status = 0, reason } = failure;
  if (status === 404) return new NotFound(failure);
  if (status === 409) return reason === 'AlreadyExists' ? new AlreadyExists(failure) : new Conflict(failure);
  if (status === 410) return new Gone(failure);
  if (status === 429) return new TooManyRequests(failure, (retryAfterSeconds ?? 1) * 1_000);
  if (status === 401 || status === 403) return new Forbidden(failure);
  if (status >= 500) return new ServerFault(failure);
  return new Invalid(failure);
}
