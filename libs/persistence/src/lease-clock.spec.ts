import { afterEach, beforeEach, expect, test } from '@jest/globals';
import { TestClock } from '#testing/clock.js';
import { LeaseClock, thisMoment } from './lease-clock.js';

let clock: TestClock;
beforeEach(() => {
  clock = new TestClock();
});
afterEach(() => clock.restore());

test.each([
  ['held while both clocks go on, until its time is over', 99, 99, false],
  ['over when its time is', 100, 100, true],
  ['over when the monotonic clock stood still, as it does while a machine sleeps', 0, 100, true],
  ['over when the wall clock was set back', 100, -3_600_000, true],
])('a lease is %s', (_, monotonic, wall, over) => {
  const lease = new LeaseClock(thisMoment(), 100);
  clock.move(monotonic, wall);
  expect(lease.hasRunOut).toBe(over);
});

test('an extension counts from before it was asked for', () => {
  const lease = new LeaseClock(thisMoment(), 100);
  const asked = thisMoment();
  clock.move(90);
  lease.heldFor(asked, 100);
  clock.move(15);
  expect(lease.hasRunOut).toBe(true);
});
