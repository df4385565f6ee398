import { expect, test } from '@jest/globals';
import { waitFor } from './wait-for.js';

test('returns the first truthy answer and takes an error for "not yet"', async () => {
  let asked = 0;
  const answer = await waitFor(
    'the third answer',
    () => {
      asked += 1;
      if (asked === 1) throw new Error('not there');
      return asked === 3 ? 'here' : undefined;
    },
    { intervalMs: 1 },
  );
  expect(answer).toBe('here');
});

test('says what it waited for and what it saw last', async () => {
  const limits = { timeoutMs: 20, intervalMs: 1 };
  await expect(waitFor('rain', () => 0, limits)).rejects.toThrow('waited 20 ms for rain; seen last: 0');
  await expect(waitFor('rain', () => Promise.reject(new TypeError('dry')), limits)).rejects.toThrow('TypeError: dry');
});

test('gives up on a condition that never answers', async () => {
  await expect(waitFor('an answer', () => new Promise(() => {}), { timeoutMs: 20 })).rejects.toThrow('never answered');
});
