import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { PassThrough, type Readable } from 'node:stream';
import { Injectable } from '@nestjs/common';
import type { Backup } from '../domain/backup.js';
import { Hopeless } from '../domain/hopeless.js';
import { keysOf } from '../domain/keys.js';
import { contentKey, keyOfSha1, sha1Of } from '../domain/stored-file.js';
import { Corrupted, readIndex } from './fill-files.js';
import { Manifest } from './manifest.js';
import { BackupSettings, ObjectMissing, ObjectStore } from './ports.js';

interface Expected {
  readonly sha256: string;
  readonly bytes: number;
}

interface Index {
  readonly index: string;
  /** How many it names. */
  readonly files: number;
}

/** The objects of a backup, each of which is believed only when it is what was written. */
@Injectable()
export class ReadBackup {
  constructor(
    private readonly store: ObjectStore,
    private readonly settings: BackupSettings,
  ) {}

  async manifest(backup: Backup): Promise<Manifest> {
    const { manifest } = keysOf(this.settings.meshName, backup);
    const parsed = Manifest.safeParse(JSON.parse(await this.text(manifest, backup.manifest!)));
    if (!parsed.success) throw new Hopeless('CORRUPTED', `${manifest} is no manifest`);
    return parsed.data;
  }

  /** Of what is small. */
  async text(key: string, sha256: string): Promise<string> {
    const chunks: Buffer[] = [];
    for await (const chunk of await this.get(key)) chunks.push(chunk as Buffer);
    const content = Buffer.concat(chunks);
    if (createHash('sha256').update(content).digest('hex') !== sha256) throw corrupted(key);
    return content.toString();
  }

  /** As it is in the store; whoever reads it compares. */
  async content(key: string, signal: AbortSignal): Promise<Readable> {
    return await this.get(key, signal);
  }

  /**
   * All of it is read, once, and is what was written.
   * @param look is given the content while it comes, and may stop to read it early. What it finds counts only of what was
   * written: where it is not, that is said.
   */
  async whole(
    key: string,
    { sha256, bytes }: Expected,
    signal: AbortSignal,
    look: (content: Readable) => Promise<void> = async () => {},
  ): Promise<void> {
    const content = await this.get(key, signal);
    const copy = new PassThrough();
    const looked = look(copy).finally(() => copy.destroy());
    looked.catch(() => {}); // it is waited for below
    const hash = createHash('sha256');
    let size = 0;
    try {
      for await (const chunk of content) {
        hash.update(chunk as Buffer);
        size += (chunk as Buffer).length;
        if (copy.writable && !copy.write(chunk)) await takenFrom(copy);
      }
    } catch (error) {
      copy.destroy(error as Error);
      await looked.catch(() => {});
      throw error;
    }
    copy.end();
    const found = await Promise.allSettled([looked]);
    if (size !== bytes || hash.digest('hex') !== sha256) throw corrupted(key);
    if (found[0].status === 'rejected') throw found[0].reason;
  }

  /** The names of an index, in their order, all `files` of them. */
  async *names({ index, files }: Index, signal?: AbortSignal): AsyncIterable<string> {
    let count = 0;
    try {
      for await (const { name } of readIndex(this.store, index, signal)) {
        count += 1;
        yield name;
      }
    } catch (error) {
      if (error instanceof Corrupted) throw corrupted(index);
      throw error instanceof ObjectMissing ? missing(index) : error;
    }
    if (count !== files) throw corrupted(index);
  }

  /** All files are there, and some of them are what their name says. */
  async sample(of: Index & { readonly prefix: string }, most: number, signal: AbortSignal): Promise<void> {
    const { prefix, files } = of;
    const stored = new Set<string>();
    for await (const { key } of this.store.list(prefix)) stored.add(key);
    const every = Math.max(1, Math.floor(files / most));
    // Another part of them each time.
    const first = Math.floor(Math.random() * every);
    const damaged: string[] = [];
    let at = 0;
    for await (const name of this.names(of, signal)) {
      const key = contentKey(prefix, name);
      if (!stored.has(key)) throw missing(key);
      if (at++ % every === first && !(await this.isItsName(key, signal))) damaged.push(sha1Of(name));
    }
    if (damaged.length > 0) throw corrupted(keyOfSha1(prefix, damaged[0]!), damaged);
  }

  /** Its name is its SHA-1. */
  private async isItsName(key: string, signal: AbortSignal): Promise<boolean> {
    const hash = createHash('sha1');
    for await (const chunk of await this.get(key, signal)) hash.update(chunk as Buffer);
    return hash.digest('hex') === key.split('/').at(-1);
  }

  private async get(key: string, signal?: AbortSignal): Promise<Readable> {
    try {
      return await this.store.get(key, signal);
    } catch (error) {
      if (error instanceof ObjectMissing) throw missing(key);
      throw error;
    }
  }
}

/** Resolves when its reader has taken what was written, or reads no more. */
async function takenFrom(copy: PassThrough): Promise<void> {
  const over = new AbortController();
  const { signal } = over;
  try {
    await Promise.race(['drain', 'close'].map((event) => once(copy, event, { signal })));
  } catch {
    // Its end is said by who reads it.
  } finally {
    over.abort();
  }
}

function corrupted(key: string, damaged?: readonly string[]): Hopeless {
  return new Hopeless('CORRUPTED', `${key} is not what was written`, damaged);
}

function missing(key: string): Hopeless {
  return new Hopeless('OBJECT_MISSING', `${key} is not there any more`);
}
