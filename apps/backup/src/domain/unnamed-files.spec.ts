import { createHash } from 'node:crypto';
import { expect, it } from '@jest/globals';
import fc from 'fast-check';
import { UnnamedFiles } from './unnamed-files.js';

const sha1Of = (number: number) => createHash('sha1').update(String(number)).digest('hex');
const asked = (files: readonly string[], named: readonly string[]) => {
  const all = new UnnamedFiles();
  for (const file of [...files].sort()) all.add(file);
  for (const file of named) all.name(file);
  return [...all.unnamed()];
};

it('knows which files nothing names, whatever is named and how often', () => {
  const some = fc.uniqueArray(fc.nat(5_000).map(sha1Of), { maxLength: 2_000 });
  fc.assert(
    fc.property(some, some, (files, named) => {
      expect(asked(files, [...named, ...named])).toEqual(files.filter((file) => !named.includes(file)).sort());
    }),
    { numRuns: 30 },
  );
});

it('says whether what is named is there', () => {
  const all = new UnnamedFiles();
  all.add(sha1Of(1));
  expect([all.isNamed(sha1Of(1)), all.isNamed(sha1Of(2))]).toEqual([false, false]);
  expect([all.name(sha1Of(1)), all.name(sha1Of(2))]).toEqual([true, false]);
  expect([all.isNamed(sha1Of(1)), all.isNamed(sha1Of(2))]).toEqual([true, false]);
});

it('of none there is none', () => {
  expect(asked([], [sha1Of(1)])).toEqual([]);
});

it('takes nothing for a content that is none, and stops', () => {
  const [one, other] = [sha1Of(1), sha1Of(2)].sort() as [string, string];
  for (const wrong of ['', 'a'.repeat(39), 'a'.repeat(41), 'A'.repeat(40), `ab/${one}`, `${one}\n`])
    for (const what of ['add', 'name'] as const) expect(() => new UnnamedFiles()[what](wrong)).toThrow('is no SHA-1');
  const all = new UnnamedFiles();
  all.add(other);
  expect(() => all.add(one)).toThrow('out of order');
  expect(() => all.add(other)).toThrow('out of order');
  all.name(one);
  expect(() => all.add(other)).toThrow('before the first');
});
