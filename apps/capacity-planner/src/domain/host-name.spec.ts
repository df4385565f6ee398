import { expect, test } from '@jest/globals';
import { type HeldName, releaseOf } from './host-name.js';

const held = (host: string): HeldName => ({ host, rests: false });
const resting = (host: string): HeldName => ({ host, rests: true });

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
] as const)('%s is given up', (_, host, main, names, expected) => {
  expect(releaseOf(host, main, names)).toEqual(expected);
});
