import { afterEach, beforeEach, expect, test } from '@jest/globals';
import { TestMeters } from '#testing/test-meters.js';
import { waitFor } from '#testing/wait-for.js';
import { Figures } from './figures.js';

let meters: TestMeters;
let figures: Figures<{ count: number; byKind: Record<string, number> }>;
let looked: number;
let answer: () => { count: number; byKind: Record<string, number> };
const troubles: string[] = [];

beforeEach(() => {
  meters = new TestMeters();
  troubles.length = 0;
  looked = 0;
  const ask = async () => {
    looked += 1;
    return answer();
  };
  figures = new Figures('things', ask, (what) => troubles.push(what), 5);
  figures.gauge('count', 'How many.', (seen) => seen.count);
  figures.gauge('kinds', 'By kind.', (seen) => Object.entries(seen.byKind).map(([kind, n]) => [n, { kind }]));
});
afterEach(async () => {
  await figures.stop();
  await meters.remove();
});

const seenAt = async () => (await meters.read())['mesh.figures.seen.timestamp.seconds things']!;

test('nothing is told before it was seen, but since when nothing was seen', async () => {
  const told = await meters.read();
  expect(Object.keys(told)).toEqual(['mesh.figures.seen.timestamp.seconds things']);
  expect(told['mesh.figures.seen.timestamp.seconds things']).toBeLessThanOrEqual(Date.now() / 1_000);
});

test('what was seen last is told, by its labels', async () => {
  answer = () => ({ count: looked, byKind: { round: 2, square: 0 } });
  figures.start();
  await waitFor('the second look', async () => (await meters.read()).count! >= 2);
  expect(await meters.read()).toMatchObject({ 'kinds round': 2, 'kinds square': 0 });
});

test('whoever cannot look any more tells what was seen before, and that it grows old', async () => {
  let away = false;
  answer = () => {
    if (away) throw new Error('the database is away');
    return { count: 7, byKind: {} };
  };
  figures.start();
  await waitFor('the first look', async () => (await meters.read()).count);
  away = true;
  await waitFor('a look that fails', () => troubles.length > 0);
  const since = await seenAt();
  const before = troubles.length;
  await waitFor('more of them', () => troubles.length > before + 1);
  expect(await seenAt()).toBe(since);
  expect((await meters.read()).count).toBe(7);

  away = false;
  await waitFor('a look that succeeds', async () => (await seenAt()) > since);
});
