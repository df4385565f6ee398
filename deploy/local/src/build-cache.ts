import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, readdirSync, renameSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { lock } from './lock.js';
import { claimFolder } from './state.js';
import type { Progress } from './terminal.js';

/** Something that is made once and then only used: binaries, files taken from a package, a Python environment. */
export interface CacheEntry {
  readonly name: string;
  /** What making it means, as the preflight says it. */
  readonly what: string;
  /** Everything the result depends on; another input makes another entry. */
  readonly inputs: readonly string[];
  /** Measured on two cores with nothing cached. */
  readonly cost: { readonly minutes: number; readonly megabytes: number };
  /** Fills the folder, which is there and empty. */
  make(folder: string, progress: Progress): Promise<void>;
}

/** The same inputs have the same key; where one input ends and the next begins matters. */
export function cacheKey(inputs: readonly string[]): string {
  return createHash('sha256').update(JSON.stringify(inputs)).digest('hex').slice(0, 16);
}

export function cachedFolder(cache: string, entry: CacheEntry): string {
  return join(cache, `${entry.name}-${cacheKey(entry.inputs)}`);
}

export function isCached(cache: string, entry: CacheEntry): boolean {
  return existsSync(cachedFolder(cache, entry));
}

/**
 * The folder of the entry, made if need be. It appears under its name only when it is complete, so a killed build
 * leaves nothing half; two commands do not build the same thing at once.
 */
export async function ensureCached(cache: string, entry: CacheEntry, progress: Progress): Promise<string> {
  const folder = cachedFolder(cache, entry);
  if (existsSync(folder)) return folder;

  claimFolder(cache);
  const unlock = await lock(join(cache, `${entry.name}.lock`), `building ${entry.name}`, (holder) =>
    progress(`waiting for pid ${holder.pid}, which is ${holder.purpose}`),
  );
  try {
    if (existsSync(folder)) return folder;
    for (const left of readdirSync(cache))
      if (left.startsWith(`${entry.name}-`) && left.endsWith('.unfinished'))
        rmSync(join(cache, left), { recursive: true, force: true });
    const unfinished = `${folder}.unfinished`;
    mkdirSync(unfinished, { recursive: true });
    await entry.make(unfinished, progress);
    renameSync(unfinished, folder);
    return folder;
  } finally {
    unlock();
  }
}
