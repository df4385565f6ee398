import { Injectable } from '@nestjs/common';
import type { Transaction } from '#persistence/index.js';
import { Repeats } from '../application/ports.js';

@Injectable()
export class RepeatRepository extends Repeats {
  async note(
    tx: Transaction,
    { caller, key, fingerprint }: { readonly caller: string; readonly key: string; readonly fingerprint: string },
  ): Promise<{ fingerprint: string; answer: unknown } | undefined> {
    // A few at a time: more than one call leaves behind.
    await tx.query(
      `WITH old AS MATERIALIZED (
         SELECT caller, key FROM repeat WHERE noted_at < now() - interval '1 day'
         ORDER BY noted_at LIMIT 10 FOR UPDATE SKIP LOCKED)
       DELETE FROM repeat USING old WHERE (repeat.caller, repeat.key) = (old.caller, old.key)`,
    );
    const noted = await tx.query(
      'INSERT INTO repeat (caller, key, fingerprint) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING RETURNING 1',
      [caller, key, fingerprint],
    );
    if (noted.length > 0) return undefined;
    const [before] = await tx.query<{ fingerprint: string; answer: unknown }>(
      'SELECT fingerprint, answer FROM repeat WHERE caller = $1 AND key = $2',
      [caller, key],
    );
    return before!;
  }

  async answer(tx: Transaction, { caller, key }: { caller: string; key: string }, answer: unknown): Promise<void> {
    await tx.query('UPDATE repeat SET answer = $3 WHERE caller = $1 AND key = $2', [
      caller,
      key,
      JSON.stringify(answer),
    ]);
  }
}
