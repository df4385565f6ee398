import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import { type CacheEntry, cacheKey, ensureCached, isCached } from './build-cache.js';

let cache: string;
beforeEach(() => {
  cache = join(mkdtempSync(join(tmpdir(), 'cache-')), 'odoo-mesh');
});
afterEach(() => rmSync(join(cache, '..'), { recursive: true, force: true }));

function entry(make: CacheEntry['make']): CacheEntry {
  return {
    name: 'tool',
    what: 'make the tool',
    inputs: ['go.mod', 'go.sum'],
    cost: { minutes: 1, megabytes: 1 },
    make,
  };
}
const quiet = () => {};

describe('the build cache', () => {
  test.each([
    [
      ['a', 'b'],
      ['a', 'c'],
    ],
    [
      ['ab', ''],
      ['a', 'b'],
    ],
    [['a'], ['a', '']],
  ])('has different keys for %j and %j', (one, other) => {
    expect(cacheKey(one)).not.toBe(cacheKey(other));
    expect(cacheKey(one)).toBe(cacheKey([...one]));
  });

  test('makes an entry once', async () => {
    let made = 0;
    const tool = entry(async (folder) => {
      made += 1;
      writeFileSync(join(folder, 'tool'), 'binary');
    });
    const folder = await ensureCached(cache, tool, quiet);
    expect(await ensureCached(cache, tool, quiet)).toBe(folder);
    expect(readFileSync(join(folder, 'tool'), 'utf8')).toBe('binary');
    expect(made).toBe(1);
  });

  test('takes nothing half made for the whole', async () => {
    const failing = entry(async (folder) => {
      writeFileSync(join(folder, 'tool'), 'half');
      throw new Error('killed');
    });
    await expect(ensureCached(cache, failing, quiet)).rejects.toThrow('killed');
    expect(isCached(cache, failing)).toBe(false);

    const folder = await ensureCached(
      cache,
      entry(async () => {}),
      quiet,
    );
    expect(readdirSync(folder)).toEqual([]);
    expect(readdirSync(cache).filter((name) => name.includes('unfinished'))).toEqual([]);
  });
});
