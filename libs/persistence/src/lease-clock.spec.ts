import { afterEach, expect, jest, test } from '@jest/globals';
import { LeaseClock, thisMoment } from './lease-clock.js';

afterEach(() => {
  jest.restoreAllMocks();
});

/** Both clocks as the test sets them. */
function clocks() {
  const now = { monotonic: 1_000, wall: 50_000 };
  jest.spyOn(performance, 'now').mockImplementation(() => now.monotonic);
  jest.spyOn(Date, 'now').mockImplementation(() => now.wall);
  return now;
}

test.each([
  ['while both clocks go on, until its time is over', 99, 99, false],
  ['not when its time is over', 100, 100, true],
  ['not when the monotonic clock stood still, as it does while a machine sleeps', 0, 100, true],
  ['not when the wall clock was set back', 100, -3_600_000, true],
])('a lease is held %s', (_, monotonic, wall, over) => {
  const now = clocks();
  const lease = new LeaseClock(thisMoment(), 100);
  now.monotonic += monotonic;
  now.wall += wall;
  expect(lease.hasRunOut).toBe(over);
});

test('an extension counts from before it was asked for', () => {
  const now = clocks();
  const lease = new LeaseClock(thisMoment(), 100);
  const asked = thisMoment();
  now.monotonic += 90;
  now.wall += 90;
  lease.heldFor(asked, 100);
  now.monotonic += 15;
  now.wall += 15;
  expect(lease.hasRunOut).toBe(true);
});
