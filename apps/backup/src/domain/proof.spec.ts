import { expect, test } from '@jest/globals';
import { isProvedBad } from './proof.js';

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
