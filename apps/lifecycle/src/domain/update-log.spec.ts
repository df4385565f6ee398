import { expect, test } from '@jest/globals';
import { judge, lastOf } from './update-log.js';

const at = (level: string, words: string) =>
  `2026-11-28 10:00:00,123 7 ${level} mesh_o1 odoo.modules.loading: ${words} `;

test('a log without a bad word is good', () => {
  expect(judge([at('INFO', 'loading 80 modules...'), 'Traceback of nobody', ''].join('\n'))).toEqual({
    fault: undefined,
    warnings: [],
  });
});

test.each([
  at('ERROR', 'Failed to load registry'),
  at('CRITICAL', 'Failed to initialize database'),
  at('WARNING', 'invalid custom view(s) for model res.partner'),
  at('WARNING', 'invalid module names, ignored: sael'),
  at('WARNING', 'Some modules are not loaded, some dependencies or manifest may be missing'),
])('%s is a fault, though it ended with 0', (line) => {
  expect(judge(`${at('INFO', 'begins')}\n${line}\n`).fault).toContain(line.trim().split(' mesh_o1 ')[1]!.split(':')[0]);
});

test('other warnings are told, each once', () => {
  const line = at('WARNING', 'The model x has no _description');
  expect(judge(`${line}\n${line}\n`)).toEqual({
    fault: undefined,
    warnings: ['WARNING odoo.modules.loading: The model x has no _description '],
  });
});

test('of a long log the end is told', () => {
  expect(lastOf('short')).toBe('short');
  const long = lastOf(`${'a'.repeat(10_000)}the end`);
  expect(long.length).toBeLessThanOrEqual(4_001);
  expect(long).toMatch(/the end$/);
});
