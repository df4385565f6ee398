import { createHash, timingSafeEqual } from 'node:crypto';
import { ApiKeys } from '../application/ports.js';

/** Keys by their hashes, compared in constant time. */
export class HashedApiKeys extends ApiKeys {
  private readonly hashes: readonly Buffer[];

  constructor(hashes: readonly string[]) {
    super();
    this.hashes = hashes.map((hash) => Buffer.from(hash, 'hex'));
  }

  isKnown(bearer: string): boolean {
    const hash = createHash('sha256').update(bearer).digest();
    return this.hashes.reduce((found, known) => timingSafeEqual(known, hash) || found, false);
  }
}
