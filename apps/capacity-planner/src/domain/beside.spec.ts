import { expect, test } from '@jest/globals';
import { type Beside, mayBecome } from './beside.js';
import { cloneOf, type Specification } from './placement.js';

const clone = { instanceId: 'source', wish: { purpose: 'clone' }, state: 'placed' } as Beside;

test.each<[string, Beside, boolean]>([
  ['a clone of it', clone, true],
  ['a clone of another', { ...clone, instanceId: 'other' }, false],
  ['a restore', { ...clone, wish: { ...clone.wish!, purpose: 'restore' } }, false],
  ['what it was switched away from', { ...clone, wish: null }, false],
  ['one that is lived in', { ...clone, state: 'lived-in' }, false],
  ['one that is gone', { ...clone, state: 'gone' }, false],
])('whether an instance can be made of %s', (_, beside, expected) => {
  expect(mayBecome(beside, 'source')).toBe(expected);
});

test('a clone is what its source is, under its own name, with the passwords that its data have', () => {
  const source = { slug: 'a', customerId: 'c', plan: 'trial', company: 'A', adminPasswordHash: 'h', externalRef: 'r' };
  const to = { instanceId: 'new', slug: 'b', customerId: 'd' };
  expect(cloneOf(source as Specification, to, 'business')).toEqual({
    ...to,
    plan: 'business',
    company: 'A',
    externalRef: null,
  });
});
