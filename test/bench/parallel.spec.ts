import { setImmediate as turn } from 'node:timers/promises';
import { expect, test } from '@jest/globals';
import { inParallel } from './parallel.js';

test('each index once, never more at once than allowed, each worker one at a time', async () => {
  const seen: number[] = [];
  const busy = new Set<number>();
  let most = 0;
  await inParallel(20, 4, async (index, worker) => {
    expect(busy.has(worker)).toBe(false);
    busy.add(worker);
    most = Math.max(most, busy.size);
    seen.push(index);
    await turn();
    busy.delete(worker);
  });
  expect(seen).toEqual(Array.from({ length: 20 }, (_, index) => index));
  expect(most).toBe(4);
});

test('the first error is the result', async () => {
  const work = inParallel(3, 1, async (index) => {
    if (index === 1) throw new Error('second');
  });
  await expect(work).rejects.toThrow('second');
});
