import { describe, expect, test } from '@jest/globals';
import type { Backup } from './backup.js';
import { refusalByHand } from './by-hand.js';
import { dayMs, policyOf } from './policy.js';

describe('another one by hand', () => {
  const now = new Date('2026-11-29T00:00:00Z');
  const trial = policyOf('trial');
  const one = (change: Partial<Backup>, daysAgo = 1) => ({
    ...{ backupId: 'b', state: 'completed' as const, fault: null },
    takenAt: new Date(now.getTime() - daysAgo * dayMs),
    ...change,
  });
  const full = [one({}, 1), one({}, 2), one({}, 3)];

  test.each([
    ['waits', 'waiting'],
    ['is dumped', 'dumping'],
    ['is saved', 'saving'],
  ] as const)('is refused while one %s, which is named', (_, state) => {
    const refusal = refusalByHand(trial, [one({ state, takenAt: null, backupId: 'that' })], now);
    expect(refusal).toMatchObject({ code: 'BACKUP_RUNS', fault: 'user', message: expect.stringContaining('that') });
  });

  test('is refused when there are as many as the plan keeps, and from when on it is not', () => {
    const refusal = refusalByHand(trial, full, now);
    expect(refusal).toMatchObject({ code: 'TOO_MANY_BACKUPS', fault: 'user' });
    const [, next] = /from (\S+) on/.exec(refusal!.message)!;
    expect(new Date(next!)).toEqual(new Date(now.getTime() + 27 * dayMs));
    expect(refusalByHand(trial, full, new Date(next!))).toBeUndefined();
  });

  test('where a smaller plan came after a larger one, it is made when there are few enough', () => {
    const { message } = refusalByHand(trial, [...full, one({}, 4), one({}, 5)], now)!;
    const next = new Date(/from (\S+) on/.exec(message)![1]!);
    expect(next).toEqual(new Date(now.getTime() + 27 * dayMs));
  });

  test.each([
    ['there is none', []],
    ['one has had its time, and is kept for its month', [...full.slice(1), one({}, 31)]],
    ['one was found bad', [...full.slice(1), one({ fault: { code: 'CORRUPTED', message: 'm' } })]],
    ['there is one less', full.slice(1)],
  ])('is made when %s', (_, others) => expect(refusalByHand(trial, others, now)).toBeUndefined());
});
