import { expect, it } from '@jest/globals';
import { quantityOf } from './quantity.js';

it.each([
  ['160Mi', 160 * 1024 ** 2],
  ['1Gi', 1024 ** 3],
  ['1G', 1e9],
  ['1.5k', 1500],
  ['50m', 0.05],
  ['2', 2],
  ['12345', 12345],
  ['1e3', 1000],
])('%s is %d', (text, value) => expect(quantityOf(text)).toBeCloseTo(value, 9));

it.each(['', 'Mi', '1Mib', '1K', '-1', '.', '1 Gi', 'NaN'])('%j is no quantity', (text) =>
  expect(() => quantityOf(text)).toThrow('not a quantity'),
);
