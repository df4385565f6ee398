import { IdempotencyKeyReused } from '../application/once.js';
import { Problem } from './problem.js';

/** The answer of what is done once; a key that came with another request before is a problem. */
export async function withoutReuse<Answer>(answer: Promise<Answer>): Promise<Answer> {
  try {
    return await answer;
  } catch (error) {
    if (error instanceof IdempotencyKeyReused) throw new Problem('idempotency-key-reused');
    throw error;
  }
}
