import { expect, it } from '@jest/globals';
import { findPlan, planNames } from './plans.js';

it('business, version 1, is what instances of it were sold', () => {
  expect(findPlan('business', 1)).toEqual({
    name: 'business',
    version: 1,
    requests: { cpu: '50m', memory: '160Mi' },
    limits: { cpu: '1', memory: '768Mi' },
    memoryLimitBytes: 805_306_368,
    storageBytes: 10_737_418_240,
    databasePool: 12,
    databaseConnections: 28,
    rpc: false,
  });
});

it('programs may call instances of enterprise from its second version on, and no others', () => {
  expect(findPlan('enterprise', 1)).toEqual({ ...findPlan('enterprise'), version: 1, rpc: false });
  expect(findPlan('enterprise')).toMatchObject({ version: 2, rpc: true });
  expect(planNames().filter((name) => findPlan(name)!.rpc)).toEqual(['enterprise']);
});

it('there are the plans that the operator sells', () => {
  expect(planNames()).toEqual(['trial', 'starter', 'business', 'enterprise']);
});

it.each(['gold', '', 'Business', '__proto__'])('%j is no plan', (name) => {
  expect(findPlan(name)).toBeUndefined();
});

it('a version that was never sold is no plan', () => {
  expect(findPlan('business', 99)).toBeUndefined();
});

it.each(planNames())('%s leaves an Odoo room to build its assets, and says one limit in two ways', (name) => {
  const plan = findPlan(name)!;
  expect(plan.memoryLimitBytes).toBeGreaterThanOrEqual(384 * 1024 ** 2);
  expect(`${plan.memoryLimitBytes / 1024 ** 2}Mi`).toBe(plan.limits.memory);
  expect(plan.databaseConnections).toBeGreaterThan(plan.databasePool);
});
