import { createHash } from 'node:crypto';
import { Injectable } from '@nestjs/common';
import type { Transaction } from '#persistence/index.js';
import { Repeats } from './ports.js';

/** Who repeats, and under which id; without one nothing is known of repeats. */
export interface Repeatable {
  readonly caller: string;
  readonly key: string | undefined;
}

export class IdempotencyKeyReused extends Error {}

/** Does what is asked for once, however often it is asked for, within a day. */
@Injectable()
export class Once {
  constructor(private readonly repeats: Repeats) {}

  /**
   * Does `work` in the transaction of its note, so that both are there or none; a repeat gets the first one's answer,
   * which is kept and so holds no secret. Throws IdempotencyKeyReused when `request` is not the one of before.
   */
  async do<Answer extends object>(
    tx: Transaction,
    { caller, key }: Repeatable,
    request: object,
    work: () => Promise<Answer>,
  ): Promise<{ readonly answer: Answer; readonly repeated: boolean }> {
    if (key === undefined) return { answer: await work(), repeated: false };
    const fingerprint = createHash('sha256').update(JSON.stringify(request)).digest('hex');
    const before = await this.repeats.note(tx, { caller, key, fingerprint });
    if (before) {
      if (before.fingerprint !== fingerprint) throw new IdempotencyKeyReused();
      return { answer: before.answer as Answer, repeated: true };
    }
    const answer = await work();
    await this.repeats.answer(tx, { caller, key }, answer);
    return { answer, repeated: false };
  }
}
