import { expect, it, test } from '@jest/globals';
import { planNames } from '#odoo/index.js';
import { dayMs, hourMs, keptUntil, policyOf, spans } from './policy.js';

it.each(planNames())('what %s promises can be kept', (plan) => {
  const { everyMs, rpoMs, keep, lockedMs, fullProofEveryMs } = policyOf(plan);
  expect(rpoMs).toBeGreaterThan(everyMs);
  expect(fullProofEveryMs).toBeGreaterThanOrEqual(everyMs);
  expect(lockedMs).toBeGreaterThan(0);
  expect(spans.map((span) => keep[span])).toContainEqual(expect.any(Number));
  expect(keep.daily).toBeGreaterThan(0);
});

test('each plan has its own promise', () => {
  const promises = planNames().map((plan) => policyOf(plan));
  expect(new Set(promises).size).toBe(planNames().length);
});

test('a plan that nobody has heard of yet is kept as the best one is', () => {
  expect(policyOf('galactic')).toBe(policyOf('enterprise'));
  expect(policyOf('constructor')).toBe(policyOf('enterprise'));
});

test.each([
  ['scheduled', 3 * dayMs],
  ['manual', 30 * dayMs],
  ['pre-upgrade', 30 * dayMs],
  ['safety', 14 * dayMs],
  ['final', 30 * dayMs],
] as const)('%s: kept %d ms whatever comes after it', (why, ms) => {
  const takenAt = new Date('2026-11-01T00:00:00Z');
  expect(keptUntil(policyOf('business'), { why, takenAt })).toEqual(new Date(takenAt.getTime() + ms));
});

test('a lock is no shorter than the time somebody asked for', () => {
  const policy = { ...policyOf('trial'), lockedMs: 90 * dayMs };
  const takenAt = new Date(5 * hourMs);
  expect(keptUntil(policy, { why: 'safety', takenAt })).toEqual(new Date(5 * hourMs + 90 * dayMs));
});
