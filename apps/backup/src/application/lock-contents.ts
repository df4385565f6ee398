import { createHash } from 'node:crypto';
import { Injectable } from '@nestjs/common';
import type { Backup, LockedContents, SavedFiles } from '../domain/backup.js';
import { keysOf } from '../domain/keys.js';
import { contentsLockedUntil } from '../domain/locked-contents.js';
import { contentKey, isContent, sha1Of } from '../domain/stored-file.js';
import { UnnamedFiles } from '../domain/unnamed-files.js';
import { Corrupted, readIndex } from './fill-files.js';
import { BackupSettings, Backups, type Fence, ObjectMissing, ObjectStore } from './ports.js';
import { SeveralAtOnce } from './several-at-once.js';

const atOnce = 16;

/**
 * Locks the contents that a backup names, which it shares with the others of its instance. That would be a request for each
 * file and backup; but an earlier one has locked most of them for long enough (`contentsLockedUntil`). So those are left out
 * that its index names, and that the store has had since before that index: what was written later, also under an old name, is
 * locked by itself. Both moments are the store's own, so no two clocks have to agree.
 */
@Injectable()
export class LockContents {
  constructor(
    private readonly store: ObjectStore,
    private readonly backups: Backups,
    private readonly settings: BackupSettings,
  ) {}

  /** Safe to repeat. Throws ObjectMissing when the index or a content is gone that it names. */
  async lock(
    whose: Pick<Backup, 'backupId' | 'customerId' | 'instanceId'>,
    index: string,
    until: Date,
    fence: Fence,
    signal: AbortSignal,
  ): Promise<LockedContents> {
    const { files } = keysOf(this.settings.meshName, whose);
    const earlier = await this.backups.withContentsLocked(whose.instanceId, until);
    const before = earlier && (await this.lockedBefore(earlier.saved!, files, signal));
    const own = contentsLockedUntil(until, whose.instanceId);
    const lockedUntil = before ? earliest(own, new Date(earlier.saved!.locked!.until)) : own;
    const since = (await this.store.head(index))?.modified;
    if (!since) throw new ObjectMissing(index);
    const names = createHash('sha256');
    const locks = new SeveralAtOnce(atOnce);
    try {
      for await (const { name } of readIndex(this.store, index, signal)) {
        signal.throwIfAborted();
        names.update(`${name}\n`);
        if (!before?.isNamed(sha1Of(name)))
          await locks.add(() => this.store.lockUntil(contentKey(files, name), lockedUntil, fence));
      }
      await locks.ended();
    } finally {
      await locks.ended().catch(() => {});
    }
    return { until: lockedUntil.toISOString(), since: since.toISOString(), names: names.digest('hex') };
  }

  /** @returns undefined: its index is gone or another one, and nobody knows what it has locked. */
  private async lockedBefore(
    { index, locked }: SavedFiles,
    files: string,
    signal: AbortSignal,
  ): Promise<UnnamedFiles | undefined> {
    const since = new Date(locked!.since);
    const contents = new UnnamedFiles();
    for await (const { key, modified } of this.store.list(files)) {
      const name = key.slice(files.length);
      if (isContent(name) && modified < since) contents.add(sha1Of(name));
    }
    const names = createHash('sha256');
    try {
      for await (const { name } of readIndex(this.store, index!, signal)) {
        names.update(`${name}\n`);
        contents.name(sha1Of(name));
      }
    } catch (error) {
      if (error instanceof ObjectMissing || error instanceof Corrupted) return undefined;
      throw error;
    }
    return names.digest('hex') === locked!.names ? contents : undefined;
  }
}

function earliest(one: Date, other: Date): Date {
  return one < other ? one : other;
}
