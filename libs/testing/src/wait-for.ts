import { setTimeout as pause } from 'node:timers/promises';
import { inspect } from 'node:util';

/**
 * Asks until the answer is truthy and returns it. An error thrown by `condition` counts as "not yet", and so does an
 * answer that does not come. When the time is up the error says what was waited for and what was seen last.
 */
export async function waitFor<T>(
  what: string,
  condition: () => T | Promise<T>,
  { timeoutMs = 20_000, intervalMs = 25 }: { timeoutMs?: number; intervalMs?: number } = {},
): Promise<NonNullable<Awaited<T>>> {
  const until = Date.now() + timeoutMs;
  let last: unknown = 'nothing, the condition never answered';
  while (Date.now() < until) {
    const end = new AbortController();
    try {
      const answer = await Promise.race([condition(), pause(until - Date.now(), noAnswer, { signal: end.signal })]);
      if (answer === noAnswer) break;
      if (answer) return answer as NonNullable<Awaited<T>>;
      last = answer;
    } catch (error) {
      last = error;
    } finally {
      end.abort();
    }
    await pause(intervalMs);
  }
  const seen = last instanceof Error ? `${last.name}: ${last.message}` : inspect(last, { depth: 4 });
  throw new Error(`waited ${timeoutMs} ms for ${what}; seen last: ${seen}`, { cause: last });
}

const noAnswer = Symbol('no answer in time');
