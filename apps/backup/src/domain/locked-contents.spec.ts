import { expect, it } from '@jest/globals';
import { newId } from '#contracts/index.js';
import { contentsLockedUntil } from './locked-contents.js';
import { weekMs } from './policy.js';

const until = new Date('2026-03-01T12:00:00.345Z');
const aheadOf = (instanceId: string) => contentsLockedUntil(until, instanceId).getTime() - until.getTime();

it('contents are locked two to four weeks ahead, an instance always by the same, and not all by the same', () => {
  const instances = Array.from({ length: 1_000 }, newId);
  const ahead = instances.map(aheadOf);
  expect(instances.map(aheadOf)).toEqual(ahead);
  for (const one of ahead) {
    expect(one).toBeGreaterThanOrEqual(2 * weekMs);
    expect(one).toBeLessThanOrEqual(4 * weekMs + 1_000);
  }
  const inFirstWeek = ahead.filter((one) => one < 3 * weekMs).length;
  expect(inFirstWeek).toBeGreaterThan(400);
  expect(inFirstWeek).toBeLessThan(600);
});

it('in whole seconds, because some stores keep no less', () => {
  expect(contentsLockedUntil(until, newId()).getMilliseconds()).toBe(0);
});
