import { expect, test } from '@jest/globals';
import { Batches, batchLimit } from './batches.js';

/** Items are numbers; those of `bad` fail, alone and in company. */
function batches({ bad = [] as number[], failure = new Error('bad') } = {}) {
  const together: number[][] = [];
  const alone: number[] = [];
  const undone: number[] = [];
  const gates: (() => void)[] = [];
  let open = true;
  const check = (items: readonly number[]) => {
    if (items.some((item) => bad.includes(item))) throw failure;
  };
  const all = new Batches<number, string>({
    together: async (items) => {
      together.push([...items]);
      if (!open) await new Promise<void>((resolve) => gates.push(resolve));
      check(items);
      return items.map((item) => `${item} together`);
    },
    alone: async (item) => {
      alone.push(item);
      check([item]);
      return `${item} alone`;
    },
    onUndone: (_, items) => undone.push(items),
  });
  return {
    all,
    ...{ together, alone, undone },
    close: () => {
      open = false;
    },
    release: () => {
      open = true;
      for (const gate of gates.splice(0)) gate();
    },
  };
}

const numbers = (count: number, from = 1) => Array.from({ length: count }, (_, n) => n + from);
/** Until all that is ready to run has run. */
const turn = () => new Promise((resolve) => setImmediate(() => setImmediate(resolve)));

test('what comes in one piece is done together, and each gets its own result', async () => {
  const { all, together } = batches();
  expect(await Promise.all(numbers(3).map((n) => all.add(n)))).toEqual(['1 together', '2 together', '3 together']);
  expect(together).toEqual([[1, 2, 3]]);
});

test('what comes while two batches are at work is done together after them, a hundred at most', async () => {
  const { all, together, close, release } = batches();
  close();
  const first = all.add(1);
  await turn();
  const second = all.add(2);
  await turn();
  const rest = numbers(batchLimit + 1, 3).map((n) => all.add(n));
  await turn();
  expect(together).toEqual([[1], [2]]);
  release();
  await Promise.all([first, second, ...rest]);
  expect(together.slice(2).map((one) => one.length)).toEqual([batchLimit, 1]);
  expect(together.flat()).toEqual(numbers(batchLimit + 3));
});

test('a batch that fails is done one by one, in order, and only the one that fails alone too has failed', async () => {
  const { all, alone, undone } = batches({ bad: [2] });
  const results = await Promise.allSettled(numbers(4).map((n) => all.add(n)));
  expect(results.map((one) => (one.status === 'fulfilled' ? one.value : one.reason.message))).toEqual([
    ...['1 alone', 'bad', '3 alone', '4 alone'],
  ]);
  expect(alone).toEqual([1, 2, 3, 4]);
  expect(undone).toEqual([4]);
});

test('one that fails in a batch of its own is not tried again', async () => {
  const { all, alone, undone } = batches({ bad: [1] });
  await expect(all.add(1)).rejects.toThrow('bad');
  expect([alone, undone]).toEqual([[], []]);
});

test('while the database is away all fail alike, and nobody asks it for each of them', async () => {
  const away = Object.assign(new Error('gone'), { code: 'ECONNREFUSED' });
  const { all, alone, undone } = batches({ bad: [2], failure: away });
  const results = await Promise.allSettled(numbers(4).map((n) => all.add(n)));
  expect(results.map((one) => one.status === 'rejected' && one.reason)).toEqual([away, away, away, away]);
  expect([alone, undone]).toEqual([[], []]);
});
