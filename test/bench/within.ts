import { setTimeout as pause } from 'node:timers/promises';

/** Rejects when the work takes longer. */
export async function within<T>(ms: number, work: Promise<T>): Promise<T> {
  const end = new AbortController();
  const tooLong = pause(ms, undefined, { signal: end.signal }).then(() => {
    throw new Error(`not all was done within ${ms / 1_000} s`);
  });
  try {
    return await Promise.race([work, tooLong]);
  } finally {
    end.abort();
    tooLong.catch(() => {});
    work.catch(() => {});
  }
}
