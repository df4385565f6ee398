import { expect, it } from '@jest/globals';
import { whenDue } from './when-due.js';

it('never calls before its time, however late the loop has looked at the clock', async () => {
  for (let round = 0; round < 20; round += 1) {
    // Work that lasts: for Node it is still the moment before it.
    for (const until = performance.now() + 5; performance.now() < until; ) Math.sqrt(2);
    const begun = performance.now();
    await new Promise<void>((resolve) => {
      whenDue(10, resolve);
      setTimeout(() => {}, 100); // somebody has to keep the loop alive
    });
    expect(performance.now() - begun).toBeGreaterThanOrEqual(10);
  }
});
