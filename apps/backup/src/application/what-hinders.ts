import { hidesTheWorld, Obstacle } from '#footprints/index.js';
import { isContention, isUnavailable, LeaseLost } from '#persistence/index.js';
import { ObjectStoreError } from './ports.js';

/**
 * What keeps a step from being done, in words for whoever looks. Undefined: it is the lease or the mesh's own database, and
 * nothing could be noted. What nobody has thought of counts too, or it would be tried for ever; the log has its words.
 */
export function hindrance(error: unknown): Obstacle | undefined {
  if (error instanceof Obstacle) return error;
  if (error instanceof ObjectStoreError)
    return new Obstacle(error.retryable ? 'STORE_UNAVAILABLE' : 'STORE_REFUSES', error.message, { cause: error });
  if (error instanceof LeaseLost || isUnavailable(error) || isContention(error)) return undefined;
  return new Obstacle('UNEXPECTED', 'the backup service did not expect this: its log says what', { cause: error });
}

/** Behind which nothing of the world is known: such time is not spent. */
export function hidesWhatIs(reason: string): boolean {
  return reason === 'STORE_UNAVAILABLE' || hidesTheWorld(reason);
}
