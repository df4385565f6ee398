import { expect, test } from '@jest/globals';
import { type HeldName, releaseOf } from './host-name.js';

const held = (host: string): HeldName => ({ host, rests: false, custom: false, reservation: null });
const resting = (host: string): HeldName => ({ ...held(host), rests: true });
const custom = (host: string, reservation: string | null): HeldName => ({ ...held(host), custom: true, reservation });

test.each([
  ['the old name after a renaming', 'old', 'old', [held('new'), held('old')], { kind: 'release', main: 'new' }],
  [
    'the new name, because the renaming failed',
    'new',
    'old',
    [held('new'), held('old')],
    { kind: 'release', main: 'old' },
  ],
  ['the main one of three', 'a', 'a', [held('c'), held('b'), held('a')], { kind: 'release', main: 'c' }],
  ['one that rests', 'old', 'new', [held('new'), resting('old')], { kind: 'released' }],
  ['the only one', 'a', 'a', [held('a')], { kind: 'impossible', why: expect.stringContaining('the only name') }],
  [
    'the only one that does not rest',
    'a',
    'a',
    [resting('b'), held('a')],
    { kind: 'impossible', why: expect.anything() },
  ],
  ['another’s', 'x', 'a', [held('a')], { kind: 'impossible', why: expect.stringContaining('not one of the names') }],
  [
    'the only one below the mesh’s domain, which a customer’s own does not stand in for',
    'a',
    'a',
    [custom('shop', 'r1'), held('a')],
    { kind: 'impossible', why: expect.stringContaining('the only name') },
  ],
] as const)('%s is given up', (_, host, main, names, expected) => {
  expect(releaseOf(host, main, names)).toEqual(expected);
});

test.each([
  ['by the reservation that it has', 'r1', [custom('shop', 'r1'), held('a')], { kind: 'free' }],
  ['a second time', 'r1', [held('a')], { kind: 'free' }],
  ['late, when it was reserved anew', 'r1', [custom('shop', 'r2'), held('a')], { kind: 'kept', reservation: 'r2' }],
  ['without saying which reservation', undefined, [custom('shop', 'r1')], { kind: 'kept', reservation: 'r1' }],
] as const)('a customer’s domain is given up %s', (_, reservation, names, expected) => {
  expect(releaseOf('shop', 'a', names, reservation)).toEqual(expected);
});
