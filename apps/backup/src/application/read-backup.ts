import { createHash } from 'node:crypto';
import { createInterface } from 'node:readline';
import { type Readable, Transform } from 'node:stream';
import { createGunzip } from 'node:zlib';
import { Injectable } from '@nestjs/common';
import type { Backup } from '../domain/backup.js';
import { Hopeless } from '../domain/hopeless.js';
import { keysOf } from '../domain/keys.js';
import { Manifest } from './manifest.js';
import { BackupSettings, ObjectMissing, ObjectStore } from './ports.js';

interface Expected {
  readonly sha256: string;
  readonly bytes: number;
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

  /** `ended` rejects when what has come through is not what was written; that is known when all has. */
  async checked(
    key: string,
    { sha256, bytes }: Expected,
    signal: AbortSignal,
  ): Promise<{ readonly content: Readable; readonly ended: Promise<void> }> {
    const hash = createHash('sha256');
    let size = 0;
    const ended = Promise.withResolvers<void>();
    // Who only looks at the beginning need not wait for the end.
    ended.promise.catch(() => {});
    const content = new Transform({
      transform(chunk: Buffer, _, next) {
        hash.update(chunk);
        size += chunk.length;
        next(null, chunk);
      },
      flush(next) {
        const whole = size === bytes && hash.digest('hex') === sha256;
        if (whole) ended.resolve();
        else ended.reject(corrupted(key));
        next();
      },
      destroy(error, next) {
        if (error) ended.reject(error);
        next(error);
      },
    });
    const source = await this.get(key, signal);
    source.on('error', (error) => content.destroy(error));
    source.pipe(content);
    return { content, ended: ended.promise };
  }

  /** The names of an index, in their order. */
  async *names(index: string): AsyncIterable<string> {
    const lines = createInterface({ input: (await this.get(index)).pipe(createGunzip()) });
    for await (const line of lines) yield (JSON.parse(line) as { name: string }).name;
  }

  /** All files are there, and some of them are what their name says. */
  async sample(
    { index, prefix, files }: { readonly index: string; readonly prefix: string; readonly files: number },
    most: number,
    signal: AbortSignal,
  ): Promise<void> {
    const stored = new Set<string>();
    for await (const { key } of this.store.list(prefix)) stored.add(key);
    const every = Math.max(1, Math.floor(files / most));
    // Another part of them each time.
    const first = Math.floor(Math.random() * every);
    let at = 0;
    for await (const name of this.names(index)) {
      if (!stored.has(`${prefix}${name}`))
        throw new Hopeless('OBJECT_MISSING', `${prefix}${name} is not there any more`);
      if (at++ % every === first) await this.file(`${prefix}${name}`, signal);
    }
    if (at !== files) throw corrupted(index);
  }

  /** Its name is its SHA-1. */
  private async file(key: string, signal: AbortSignal): Promise<void> {
    const hash = createHash('sha1');
    for await (const chunk of await this.get(key, signal)) hash.update(chunk as Buffer);
    if (hash.digest('hex') !== key.split('/').at(-1)) throw corrupted(key);
  }

  private async get(key: string, signal?: AbortSignal): Promise<Readable> {
    try {
      return await this.store.get(key, signal);
    } catch (error) {
      if (error instanceof ObjectMissing) throw new Hopeless('OBJECT_MISSING', `${key} is not there any more`);
      throw error;
    }
  }
}

function corrupted(key: string): Hopeless {
  return new Hopeless('CORRUPTED', `${key} is not what was written`);
}
