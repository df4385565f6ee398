import { Injectable } from '@nestjs/common';
import { keysOf } from '../domain/keys.js';
import { isContent, keyOfSha1, sha1Of } from '../domain/stored-file.js';
import { UnnamedFiles } from '../domain/unnamed-files.js';
import { readIndex } from './fill-files.js';
import { BackupSettings, Expiries, type Fence, ObjectLocked, ObjectStore } from './ports.js';

const atOnce = 1_000;

export interface Swept {
  readonly removed: number;
  /** Until then (Unix time in ms) the store holds others, which a later sweep finds again. 0: none; Infinity: by a legal hold. */
  readonly heldUntil: number;
}

/**
 * Removes the contents of an instance that no index names. It may only be called while no backup of the instance is under
 * way and none can begin, because a save leaves out what is there already, and names it in an index that comes later.
 *
 * What names a content is asked of the store itself, and of the database: every index that is there counts, also of a backup
 * that the database has forgotten; and one that a completed backup names and that is not there, or that cannot be read to its
 * end, ends the sweep before anything is removed. So no complete backup can lose a file by it, whatever happens. The last
 * doubt is a worker that was frozen after its last look at the lease and wakes up when a later backup has been made: what it
 * may take then was named by nothing when it looked, so it is a file of that later backup alone, which its proof finds, and
 * which the next one brings again, because it still is in the volume.
 */
@Injectable()
export class SweepContents {
  constructor(
    private readonly store: ObjectStore,
    private readonly expiries: Expiries,
    private readonly settings: BackupSettings,
  ) {}

  async sweep(
    whose: { readonly customerId: string; readonly instanceId: string },
    fence: Fence,
    signal: AbortSignal,
  ): Promise<Swept> {
    const { instance, files, damaged } = keysOf(this.settings.meshName, { ...whose, backupId: '' });
    // Contents before indexes: what comes between is not looked at, and stays.
    const unnamed = new UnnamedFiles();
    for await (const { key } of this.store.list(files)) {
      const name = key.slice(files.length);
      if (isContent(name)) unnamed.add(sha1Of(name));
    }
    const indexes = new Set(await this.expiries.indexes(whose.instanceId));
    for await (const { key } of this.store.list(`${instance}backups/`)) if (isIndex(key)) indexes.add(key);
    for (const index of indexes)
      for await (const { name } of readIndex(this.store, index, signal)) unnamed.name(sha1Of(name));
    const { removed, heldUntil } = await this.remove(files, unnamed, fence, signal);
    const setAside = indexes.size === 0 ? await this.removeSetAside(damaged, files, fence) : 0;
    return { removed, heldUntil: Math.max(heldUntil, setAside) };
  }

  /**
   * With the last backup goes what was set aside, and what of it is hidden where it was, which no list shows: that first,
   * because the other tells where to look. @returns until when the store holds some of it.
   */
  private async removeSetAside(damaged: string, files: string, fence: Fence): Promise<number> {
    const [kept, hidden]: [string[], string[]] = [[], []];
    for await (const { key } of this.store.list(damaged)) {
      const [sha1 = ''] = key.slice(damaged.length).split('-');
      kept.push(key);
      if (/^[0-9a-f]{40}$/.test(sha1)) hidden.push(keyOfSha1(files, sha1));
    }
    return (await this.removeAll(hidden, fence)) || (await this.removeAll(kept, fence));
  }

  private async remove(files: string, unnamed: UnnamedFiles, fence: Fence, signal: AbortSignal): Promise<Swept> {
    let [removed, heldUntil] = [0, 0];
    for (const keys of inParts(unnamed.unnamed(), (sha1) => keyOfSha1(files, sha1))) {
      signal.throwIfAborted();
      const held = await this.removeAll(keys, fence);
      heldUntil = Math.max(heldUntil, held);
      if (!held) removed += keys.length;
    }
    return { removed, heldUntil };
  }

  /** @returns until when the store holds some of them; 0: all are gone. */
  private async removeAll(keys: readonly string[], fence: Fence): Promise<number> {
    try {
      await this.store.remove(keys, fence);
      return 0;
    } catch (error) {
      if (!(error instanceof ObjectLocked)) throw error;
      return error.until?.getTime() ?? Number.POSITIVE_INFINITY;
    }
  }
}

function isIndex(key: string): boolean {
  return /\/files-[^/]+\.ndjson\.gz$/.test(key);
}

function* inParts(sha1s: Iterable<string>, keyOf: (sha1: string) => string): Generator<readonly string[]> {
  let part: string[] = [];
  for (const sha1 of sha1s) {
    part.push(keyOf(sha1));
    if (part.length < atOnce) continue;
    yield part;
    part = [];
  }
  if (part.length > 0) yield part;
}
