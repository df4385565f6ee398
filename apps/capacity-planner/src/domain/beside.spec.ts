import { expect, test } from '@jest/globals';
import { type Beside, mayBecome, mayStandBeside } from './beside.js';
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

test('of an instance that has come to its end a clone is made, and nothing else', () => {
  const ended = { state: 'ended', cell: 'c0' } as const;
  expect(mayStandBeside('clone', ended)).toBe(true);
  for (const purpose of ['restore', 'move', 'proof'] as const) expect(mayStandBeside(purpose, ended)).toBe(false);
  expect(mayStandBeside('clone', { state: 'ended', cell: null })).toBe(false);
  expect(mayStandBeside('clone', { state: 'waiting', cell: null })).toBe(false);
  for (const purpose of ['restore', 'proof'] as const)
    expect(mayStandBeside(purpose, { state: 'placed', cell: 'c0' })).toBe(true);
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
