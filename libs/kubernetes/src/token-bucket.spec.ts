import { expect, it, jest } from '@jest/globals';
import { type Priority, TokenBucket } from './token-bucket.js';

it('lets a burst through at once and the rest at the rate', async () => {
  const begun = performance.now();
  const now = jest.spyOn(performance, 'now').mockReturnValue(begun);
  const bucket = new TokenBucket({ perSecond: 200, burst: 5 });
  const calls = Array.from({ length: 25 }, () => bucket.take('bulk'));
  expect(bucket.waiting).toBe(20);
  now.mockRestore();
  await Promise.all(calls);
  expect(performance.now() - begun).toBeGreaterThanOrEqual(95);
});

it('every interactive call goes before every bulk one, each kind in its order', async () => {
  const bucket = new TokenBucket({ perSecond: 500, burst: 1 });
  await bucket.take('bulk');
  const went: string[] = [];
  const wait = (priority: Priority, name: string) => bucket.take(priority).then(() => went.push(name));
  await Promise.all([
    wait('bulk', 'b1'),
    wait('bulk', 'b2'),
    wait('interactive', 'i1'),
    wait('bulk', 'b3'),
    wait('interactive', 'i2'),
  ]);
  expect(went).toEqual(['i1', 'i2', 'b1', 'b2', 'b3']);
});

it('a call that gives up takes nothing and leaves no trace', async () => {
  const bucket = new TokenBucket({ perSecond: 2, burst: 1 });
  await bucket.take('interactive');
  const reason = new Error('not wanted any more');
  const gone = new AbortController();
  const given = expect(bucket.take('interactive', gone.signal)).rejects.toBe(reason);
  const next = bucket.take('interactive');
  expect(bucket.waiting).toBe(2);
  const begun = performance.now();
  gone.abort(reason);
  await given;
  expect(bucket.waiting).toBe(1);
  await next;
  // One interval, and not the one after it too.
  expect(performance.now() - begun).toBeLessThan(950);
  await expect(bucket.take('interactive', gone.signal)).rejects.toBe(reason);
});

it('saves no more than a burst while nobody calls', async () => {
  const bucket = new TokenBucket({ perSecond: 1, burst: 2 });
  const now = jest.spyOn(performance, 'now').mockReturnValue(performance.now() + 3_600_000);
  try {
    await bucket.take('interactive');
    await bucket.take('interactive');
    const gone = new AbortController();
    const third = bucket.take('interactive', gone.signal).catch(() => 'gave up');
    expect(bucket.waiting).toBe(1);
    gone.abort();
    expect(await third).toBe('gave up');
  } finally {
    now.mockRestore();
  }
});

it('keeps no timer, and so no process, when nobody waits any more', async () => {
  const timers = () => process.getActiveResourcesInfo().filter((resource) => resource === 'Timeout').length;
  const before = timers();
  const bucket = new TokenBucket({ perSecond: 0.001, burst: 1 });
  await bucket.take('bulk');
  const gone = new AbortController();
  const waiting = bucket.take('bulk', gone.signal).catch(() => {});
  expect(timers()).toBe(before + 1);
  gone.abort();
  await waiting;
  expect(timers()).toBe(before);
});

it.each([
  { perSecond: 0, burst: 1 },
  { perSecond: -1, burst: 1 },
  { perSecond: 1, burst: 0 },
  { perSecond: Number.NaN, burst: 1 },
])('refuses to be built to let nothing through: %j', (options) => {
  expect(() => new TokenBucket(options)).toThrow('more than nothing');
});
