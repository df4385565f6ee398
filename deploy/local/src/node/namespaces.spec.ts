import { expect, it } from '@jest/globals';
import { insideOf } from './namespaces.js';

const [holder, us, pod, machine] = [10, 20, 30, 40];

it('what shares the holder’s namespace is ended, and nothing else', () => {
  const namespaces = new Map([
    [holder, 'mnt:[2]'],
    [pod, 'mnt:[2]'],
    [us, 'mnt:[1]'],
    [machine, 'mnt:[1]'],
  ]);
  expect(insideOf(holder, us, namespaces)).toEqual([pod]);
});

it('a holder that has made no namespace of its own yet is no reason to end anybody', () => {
  const namespaces = new Map([holder, us, machine].map((pid) => [pid, 'mnt:[1]']));
  expect(insideOf(holder, us, namespaces)).toEqual([]);
});

it('nor is one that is gone, or that we cannot look at', () => {
  expect(insideOf(holder, us, new Map([[us, 'mnt:[1]']]))).toEqual([]);
  expect(
    insideOf(
      holder,
      us,
      new Map<number, string | undefined>([
        [holder, undefined],
        [pod, undefined],
      ]),
    ),
  ).toEqual([]);
});
