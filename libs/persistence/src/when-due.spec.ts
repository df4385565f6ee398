import { expect, it } from '@jest/globals';
import { whenDue } from './when-due.js';

it('never calls before its time, as a timer alone does now and then', async () => {
  const early: number[] = [];
  const calls: Promise<void>[] = [];
  for (let round = 0; round < 5_000; round += 1) {
    // At any moment between two of the clock by which Node counts.
    for (const until = performance.now() + Math.random() / 5; performance.now() < until; ) Math.sqrt(2);
    const begun = performance.now();
    calls.push(
      new Promise((resolve) => {
        whenDue(2, () => {
          const passed = performance.now() - begun;
          if (passed < 2) early.push(passed);
          resolve();
        });
      }),
    );
    if (round % 5 === 0) await calls.at(-1);
  }
  await Promise.all(calls);
  expect(early).toEqual([]);
});
