import { createHash } from 'node:crypto';
import { type Readable, Transform } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { Injectable } from '@nestjs/common';
import { Log } from '#observability/index.js';
import type { JobQueue, Transaction } from '#persistence/index.js';
import { keysOf } from '../domain/keys.js';
import { keyOfSha1 } from '../domain/stored-file.js';
import { BackupSettings, type Fence, ObjectMissing, ObjectStore } from './ports.js';

/** Whoever removes what is over does this too: both need that no backup of the instance is under way. */
export async function askToSetAside(
  tx: Transaction,
  jobs: JobQueue,
  { instanceId }: { readonly instanceId: string },
): Promise<void> {
  await jobs.ask(tx, { kind: 'expired', key: instanceId });
}

/**
 * A content that was damaged in the store, and has the size that it had, is taken for good by every later backup: none would
 * send it again. So it is set aside, and the next backup of its instance sends it, if the volume still has it; then every
 * backup that names it has it again.
 *
 * What a proof has read counts for nothing here: the content is read once more, and again while it is copied to
 * `damaged/`, and only when both find the same wrong one it goes from where backups look for it. So nothing is lost by it, and
 * a person can put it back. It may only be called while no backup of the instance is under way and none can begin; the last
 * doubt is that of the sweep (sweep-contents.ts), and ends as well.
 */
@Injectable()
export class SetAsideDamaged {
  constructor(
    private readonly store: ObjectStore,
    private readonly settings: BackupSettings,
    private readonly log: Log,
  ) {}

  /**
   * @param sha1 in hex
   * @returns false: it reads as something else each time, and stays where it is; somebody has to look again later.
   */
  async setAside(
    whose: { readonly customerId: string; readonly instanceId: string },
    sha1: string,
    fence: Fence,
    signal: AbortSignal,
  ): Promise<boolean> {
    const { files, damaged } = keysOf(this.settings.meshName, { ...whose, backupId: '' });
    const key = keyOfSha1(files, sha1);
    const content = await this.store.get(key, signal).catch(toNothing);
    if (!content) return true; // by an earlier run, or by somebody else
    const found = await sha1Of(content, signal);
    if (found === sha1) {
      this.log.warn('a content is what its name says, though a proof has read something else', { key });
      return true;
    }
    const kept = `${damaged}${sha1}-${found}`;
    if ((await this.copy(key, kept, fence, signal)) !== found) {
      this.log.error('a content reads as something else each time', { key });
      return false;
    }
    await this.store.hide(key, fence);
    this.log.error('a damaged content was set aside; the next backup sends it again', { key, kept });
    return true;
  }

  /** @returns the SHA-1 of what was copied. */
  private async copy(from: string, to: string, fence: Fence, signal: AbortSignal): Promise<string> {
    const hash = createHash('sha1');
    const through = new Transform({
      transform(chunk: Buffer, _, done) {
        hash.update(chunk);
        done(null, chunk);
      },
    });
    const read = pipeline(await this.store.get(from, signal), through, { signal });
    await Promise.all([this.store.put(to, through, { fence, signal }), read]);
    return hash.digest('hex');
  }
}

async function sha1Of(content: Readable, signal: AbortSignal): Promise<string> {
  const hash = createHash('sha1');
  await pipeline(content, hash, { signal });
  return hash.digest('hex');
}

function toNothing(error: unknown): undefined {
  if (!(error instanceof ObjectMissing)) throw error;
}
