import { expect, test } from '@jest/globals';
import { hidesTheWorld, isWorthKeeping, seen, type TimeSpent, timeSpentAtFirst, unseen } from './deadline.js';

const deadlineMs = 15 * 60_000;
const at = (seconds: number) => new Date(seconds * 1_000);

/** What happens at which second: a look that sees, a failure behind which nothing is seen, nothing (a death). */
function spentSeconds(events: readonly (readonly [second: number, what: 'seen' | 'unseen'])[], limit = deadlineMs) {
  let spent: TimeSpent = timeSpentAtFirst(at(0));
  for (const [second, what] of events) spent = what === 'seen' ? seen(spent, at(second), limit) : unseen(spent);
  return spent.spentMs / 1_000;
}

test.each([
  ['looks every five seconds', [5, 10, 15].map((second) => [second, 'seen'] as const), 15],
  ['a step of a minute', [[60, 'seen']], 60],
  [
    'an outage of an hour that was noticed',
    [
      [5, 'seen'],
      [6, 'unseen'],
      [3_600, 'seen'],
      [3_605, 'seen'],
    ],
    10,
  ],
  [
    'two outages, and time between them',
    [
      [5, 'unseen'],
      [1_000, 'seen'],
      [1_010, 'seen'],
      [1_012, 'unseen'],
      [2_000, 'unseen'],
      [3_000, 'seen'],
      [3_030, 'seen'],
    ],
    40,
  ],
  [
    'an hour in which nobody was there to notice anything',
    [
      [5, 'seen'],
      [3_605, 'seen'],
    ],
    65,
  ],
  [
    'a look of one whose clock is behind',
    [
      [10, 'seen'],
      [5, 'seen'],
      [10, 'seen'],
    ],
    15,
  ],
] satisfies [string, (readonly [number, 'seen' | 'unseen'])[], number][])('%s', (_, events, expected) => {
  expect(spentSeconds(events)).toBe(expected);
});

test('no single gap is the end of a making, however short its time is', () => {
  expect(spentSeconds([[3_600, 'seen']], 3_000)).toBe(1);
});

test('what is seen all the time comes to its end', () => {
  const looks = Array.from({ length: 181 }, (_, n) => [5 * n, 'seen'] as const);
  expect(spentSeconds(looks)).toBe(deadlineMs / 1_000);
});

test('a sight is kept before a death could make a gap of it that counts for less', () => {
  const kept = { spentMs: 0, seenAt: at(0) };
  expect([5, 14, 15, 60].map((second) => isWorthKeeping(kept, at(second), deadlineMs))).toEqual([
    ...[false, false, true, true],
  ]);
  expect(isWorthKeeping(unseen(kept), at(0), deadlineMs)).toBe(true);
});

test.each([
  ['CLUSTER_UNAVAILABLE', true],
  ['SHARD_UNAVAILABLE', true],
  ['SHARD_DISK_FULL', false],
  ['CLUSTER_FORBIDS', false],
])('%s hides the world: %s', (reason, expected) => expect(hidesTheWorld(reason)).toBe(expected));
