import { expect, test } from '@jest/globals';
import { RateLimit } from './rate-limit.js';

test('each name has its own share of calls, and whoever has used it up is told when to come again', async () => {
  const limit = new RateLimit(3);
  for (const left of [2, 1, 0]) {
    const share = await limit.take('one');
    expect(share.allowed).toBe(true);
    expect(share.headers.RateLimit).toMatch(new RegExp(`^"calls";r=${left};t=\\d+$`));
    expect(share.headers).not.toHaveProperty('Retry-After');
  }
  const refused = await limit.take('one');
  expect(refused.allowed).toBe(false);
  expect(Number(refused.headers['Retry-After'])).toBeGreaterThan(0);
  expect(refused.headers['RateLimit-Policy']).toBe('"calls";q=3;w=60');
  expect((await limit.take('another')).allowed).toBe(true);
});
