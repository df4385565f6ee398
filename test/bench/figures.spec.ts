import { expect, test } from '@jest/globals';
import type { Comparison } from './bench.js';
import { figureOf, isMet, median, quantile, rounded, tableOf } from './figures.js';

test.each([
  [[3], 3],
  [[9, 1, 5], 5],
  [[4, 1, 2, 100], 3],
])('the median of %j is %d', (values, expected) => {
  expect(median(values)).toBe(expected);
});

test('there is no median and no quantile of nothing', () => {
  expect(() => median([])).toThrow('median of nothing');
  expect(() => quantile([], 0.5)).toThrow('quantile of nothing');
});

test.each([
  [0.5, 2],
  [0.95, 4],
  [0, 1],
  [1, 4],
])('the quantile %d of four values is the value number %d', (share, expected) => {
  expect(quantile([4, 2, 1, 3], share)).toBe(expected);
});

test.each([
  [12345.678, 12350],
  [0.123456, 0.1235],
  [0, 0],
])('%d is told as %d', (value, expected) => {
  expect(rounded(value)).toBe(expected);
});

const comparison: Comparison = {
  says: 'relay against bare',
  quantity: 'perSecond',
  ours: 'relay',
  reference: 'bare',
  goal: { of: 'ratio', is: 'at least', value: 0.8 },
};
const at = (perSecond: number) => ({ perSecond });

test('a round that was slow for both sides does not move the ratio', () => {
  const figure = figureOf(comparison, { relay: [at(90), at(9), at(90)], bare: [at(100), at(10), at(100)] });
  expect(figure).toEqual({
    says: 'relay against bare',
    quantity: 'perSecond',
    ours: 90,
    reference: 100,
    ratio: 0.9,
    goal: '≥ 0.8',
    met: true,
    rounds: [
      [90, 100],
      [9, 10],
      [90, 100],
    ],
  });
});

test('a figure without a goal is neither met nor missed', () => {
  const { goal: _goal, ...explaining } = comparison;
  const { goal, met } = figureOf(explaining, { relay: [at(1)], bare: [at(1)] });
  expect({ goal, met }).toEqual({ goal: null, met: null });
});

test('a goal may be of ours alone', () => {
  const goal = { of: 'ours', is: 'at most', value: 16 } as const;
  const figure = figureOf({ ...comparison, goal }, { relay: [at(17)], bare: [at(2000)] });
  expect(figure).toMatchObject({ goal: 'ours ≤ 16', met: false });
});

test('a side that is missing or measured something else is an error, not a ratio', () => {
  expect(() => figureOf(comparison, { relay: [at(1)], bare: [] })).toThrow('same number of rounds');
  expect(() => figureOf(comparison, { relay: [at(1)], bare: [{ p50Ms: 1 }] })).toThrow('did not measure perSecond');
});

test.each([
  ['at least', 0.8, 0.8, true],
  ['at least', 0.8, 0.79, false],
  ['at most', 1.35, 1.35, true],
  ['at most', 1.35, 1.36, false],
] as const)('%s %d: %d is %s', (is, value, measured, expected) => {
  expect(isMet({ of: 'ratio', is, value }, measured)).toBe(expected);
});

test('the table says ratio, goal and whether it was met', () => {
  const figure = figureOf(comparison, { relay: [at(1234.5)], bare: [at(2000)] });
  expect(tableOf([{ bench: 'relay', figure }])).toEqual([
    'bench  figure                         ours  reference  ratio  goal',
    'relay  relay against bare, perSecond  1235       2000   0.62  ≥ 0.8  NOT MET',
  ]);
});
