import { Injectable } from '@nestjs/common';
import type { Backup } from '../domain/backup.js';
import { keysOf } from '../domain/keys.js';
import { contentsLockedUntil } from '../domain/locked-contents.js';
import { contentKey, isContent, sha1Of } from '../domain/stored-file.js';
import { UnnamedFiles } from '../domain/unnamed-files.js';
import { readIndex } from './fill-files.js';
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

  /**
   * Safe to repeat. Throws ObjectMissing when a content is gone that the index names.
   * @returns until when all of them are locked: then or later.
   */
  async lock(
    backup: Pick<Backup, 'backupId' | 'customerId' | 'instanceId'>,
    index: string,
    until: Date,
    fence: Fence,
    signal: AbortSignal,
  ): Promise<Date> {
    const { files } = keysOf(this.settings.meshName, backup);
    const earlier = await this.backups.withContentsLocked(backup.instanceId, until);
    const before = earlier && (await this.lockedBefore(earlier, files, signal));
    const lockedUntil = before ? new Date(earlier.saved!.lockedUntil!) : contentsLockedUntil(until, backup.instanceId);
    const locks = new SeveralAtOnce(atOnce);
    try {
      for await (const { name } of readIndex(this.store, index, signal)) {
        signal.throwIfAborted();
        if (!before?.isNamed(sha1Of(name)))
          await locks.add(() => this.store.lockUntil(contentKey(files, name), lockedUntil, fence));
      }
      await locks.ended();
    } finally {
      await locks.ended().catch(() => {});
    }
    return lockedUntil;
  }

  /** @returns undefined: its index is gone, because its time was over meanwhile. */
  private async lockedBefore(earlier: Backup, files: string, signal: AbortSignal): Promise<UnnamedFiles | undefined> {
    const index = earlier.saved!.index!;
    const written = await this.store.head(index);
    if (!written) return undefined;
    const contents = new UnnamedFiles();
    for await (const { key, modified } of this.store.list(files)) {
      const name = key.slice(files.length);
      if (isContent(name) && modified < written.modified) contents.add(sha1Of(name));
    }
    try {
      for await (const { name } of readIndex(this.store, index, signal)) contents.name(sha1Of(name));
    } catch (error) {
      if (!(error instanceof ObjectMissing)) throw error;
      return undefined;
    }
    return contents;
  }
}
