import { createHash } from 'node:crypto';
import { Readable } from 'node:stream';
import { buffer } from 'node:stream/consumers';
import { ObjectMissing, ObjectStore, type Stored } from './ports.js';

/** A store for unit specs, which can be made to lose its answers. */
export class StoreInMemory extends ObjectStore {
  readonly objects = new Map<string, Buffer>();
  /** In the order of their end. */
  readonly puts: string[] = [];
  /** Called before each put is taken. */
  beforePut: (key: string) => void = () => {};
  /** What comes of a content, instead of it. */
  answer: (key: string, content: Buffer) => Readable = (_, content) => Readable.from([content]);

  async put(key: string, content: Readable): Promise<Stored> {
    return await this.putSmall(key, await buffer(content));
  }

  async putSmall(key: string, content: string | Buffer): Promise<Stored> {
    this.beforePut(key);
    const bytes = Buffer.from(content);
    this.objects.set(key, bytes);
    this.puts.push(key);
    return { bytes: bytes.length, sha256: createHash('sha256').update(bytes).digest('hex') };
  }

  async get(key: string): Promise<Readable> {
    const content = this.objects.get(key);
    if (!content) throw new ObjectMissing(key);
    return this.answer(key, content);
  }

  async head(key: string) {
    const content = this.objects.get(key);
    return content && { bytes: content.length, modified: new Date(0) };
  }

  async *list(prefix: string) {
    for (const key of [...this.objects.keys()].sort())
      if (key.startsWith(prefix)) yield { key, bytes: this.objects.get(key)!.length, modified: new Date(0) };
  }

  async remove(keys: readonly string[]): Promise<void> {
    for (const key of keys) this.objects.delete(key);
  }

  async hide(key: string): Promise<void> {
    this.objects.delete(key);
  }

  async removeUnfinished(): Promise<number> {
    return 0;
  }

  readonly locks = false;

  async lockUntil(): Promise<void> {}
}
