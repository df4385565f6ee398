export interface CallFailure {
  readonly verb: string;
  /** For instance `Deployment mesh-c0/o0199…`. */
  readonly object: string;
  /** HTTP's; none when there was no answer. */
  readonly status?: number;
  /** The API server's own words, where they cannot hold a secret. */
  readonly message: string;
  /** The machine-readable one of the server's Status, for instance `AlreadyExists`. */
  readonly reason?: string;
  /** The name of the object that the Status speaks of; not always the one that was asked for. */
  readonly about?: string;
}

/**
 * Something the API server said, or that it could not be asked. The message names the verb, the object and the server's
 * reason, and never a body: there may be secrets in it.
 */
export abstract class KubernetesError extends Error {
  /** Whether the same call may succeed later with nothing changed by us. */
  abstract readonly retryable: boolean;

  constructor(
    readonly failure: CallFailure,
    options?: ErrorOptions,
  ) {
    super(`${failure.verb} ${failure.object}: ${failure.message}`, options);
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

/** The server says that there is none: of the object, or of what it would be in (see `failure.about`). */
export class NotFound extends KubernetesError {
  readonly retryable = false;
}

/** Not allowed: by who we are (401), by rights, by admission, or by a quota. */
export class Forbidden extends KubernetesError {
  /** A full quota has room again when something in the namespace ends; the other kinds want somebody to act. */
  get retryable(): boolean {
    return this.byQuota;
  }

  get byQuota(): boolean {
    return /exceeded quota|status unknown for quota/.test(this.failure.message);
  }
}

/** The server does not take the object as it is. */
export class Invalid extends KubernetesError {
  readonly retryable = false;
}

/** Flow control, not a fault. It was waited for already, as long as the client's patience; ask again after this time. */
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

/** There was an answer that says nothing about the object: a fault of the server, or not the API server's at all. */
export class ServerFault extends KubernetesError {
  readonly retryable = true;
}

/** No answer: nothing is known about the object, nor whether a change was made. */
export class Unreachable extends KubernetesError {
  readonly retryable = true;
}

export function errorOf(failure: CallFailure, retryAfterMs = 1_000): KubernetesError {
  const { status = 0, reason } = failure;
  if (status === 400 || status === 422 || status === 405 || status === 413 || status === 415)
    return new Invalid(failure);
  if (status === 401 || status === 403) return new Forbidden(failure);
  // Without the server's own reason a 404 comes from something in between, or the API itself is not installed.
  if (status === 404 && reason === 'NotFound') return new NotFound(failure);
  if (status === 409) return reason === 'AlreadyExists' ? new AlreadyExists(failure) : new Conflict(failure);
  if (status === 410) return new Gone(failure);
  if (status === 429) return new TooManyRequests(failure, retryAfterMs);
  return new ServerFault(failure);
}
