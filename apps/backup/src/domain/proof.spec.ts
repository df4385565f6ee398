import { expect, test } from '@jest/globals';
import { isOfOtherFiles, isProvedBad } from './proof.js';

test('what was found in it makes a backup bad at once, what was in the way never does', () => {
  expect(isProvedBad('CORRUPTED', 1)).toBe(true);
  for (const code of ['SHARD_UNAVAILABLE', 'NOT_DONE_IN_TIME', 'TOOL_MISSING', 'NO_ROOM'])
    expect(isProvedBad(code, 100)).toBe(false);
});

test('that Odoo does not load it is believed the third time', () => {
  expect([1, 2, 3, 4].map((failures) => isProvedBad('ODOO_DOES_NOT_LOAD', failures))).toEqual([
    false,
    false,
    true,
    true,
  ]);
});

test.each([
  ['none of none', 0, 0, false],
  ['none', 400, 0, false],
  ['one of a few', 3, 1, false],
  ['a tenth', 400, 40, false],
  ['more than a tenth', 400, 41, true],
  ['two of a few', 3, 2, true],
  ['all of many', 400, 400, true],
  ['the only one', 1, 1, true],
])('a backup that lacks %s of the files that its database names', (_, named, missing, others) => {
  expect(isOfOtherFiles({ named, missing })).toBe(others);
});
