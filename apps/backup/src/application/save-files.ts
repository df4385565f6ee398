import { once } from 'node:events';
import { Readable } from 'node:stream';
import { buffer } from 'node:stream/consumers';
import { pipeline } from 'node:stream/promises';
import { createGzip } from 'node:zlib';
import type { Log } from '#observability/log.js';
import { contentKey, indexLine, type StoredFile, sha1Of } from '../domain/stored-file.js';
import { NamedContent, NotItsName } from './named-content.js';
import type { FilesToSave, Filestore, ObjectStore } from './ports.js';
import { SeveralAtOnce } from './several-at-once.js';

/** Whole in memory, several at once; larger ones are streamed, one at a time. */
const small = 1024 ** 2;
const atOnce = 8;
const toldEach = 1_000;
const namesTold = 10;

export interface FilesSaved {
  readonly files: number;
  readonly bytes: number;
  readonly uploaded: number;
}

/** Some of the files are not what their names say; the others are in the store. */
export class FilesDamaged extends Error {
  override name = 'FilesDamaged';

  constructor(names: readonly string[]) {
    const more = names.length > namesTold ? ` and ${names.length - namesTold} more` : '';
    super(`not what their names say: ${names.slice(0, namesTold).join(', ')}${more}`);
  }
}

/**
 * Brings what the store has not to the store, then the index, which names all: where it is, everything is. Begun again it
 * brings only the rest. Ends in FilesDamaged without an index; in FileVanished when the volume changes meanwhile. In
 * memory there is one page of the store's list, one of the 256 parts of the filestore, and the index as it is sent.
 */
export async function saveFiles(
  { store, filestore, log }: { readonly store: ObjectStore; readonly filestore: Filestore; readonly log: Log },
  to: FilesToSave,
  signal: AbortSignal,
): Promise<FilesSaved> {
  const stored = new InStore(store, to.files);
  const uploads = new SeveralAtOnce(atOnce);
  const damaged: string[] = [];
  let [files, bytes, uploaded] = [0, 0, 0];

  const upload = async ({ name, bytes: size }: StoredFile) => {
    const key = contentKey(to.files, name);
    const content = new NamedContent(name);
    try {
      const read = pipeline(await filestore.read(name), content, { signal });
      const sent =
        size <= small
          ? buffer(content).then((whole) => store.putSmall(key, whole, { signal }))
          : store.put(key, content, { signal });
      await Promise.all([sent, read]);
      uploaded += 1;
    } catch (error) {
      if (!(content.errored instanceof NotItsName)) throw error;
      log.error('a file is not what its name says', { file: name });
      damaged.push(name);
    } finally {
      content.destroy(); // where the store did not take it, nobody reads on
    }
  };

  const index = createGzip();
  const compressed = buffer(index);
  try {
    for await (const part of filestore.files()) {
      for (const file of await missing(part, stored, to.files)) {
        signal.throwIfAborted();
        if (file.bytes > small) await upload(file);
        else await uploads.add(() => upload(file));
      }
      for (const file of part) {
        files += 1;
        bytes += file.bytes;
        if (!index.write(indexLine(file))) await once(index, 'drain');
        if (files % toldEach === 0) log.info('saving files', { files, bytes, uploaded });
      }
    }
    await uploads.ended();
    if (damaged.length > 0) throw new FilesDamaged(damaged);
    index.end();
    await store.put(to.index, Readable.from([await compressed]), { contentType: 'application/gzip', signal });
  } finally {
    index.destroy();
    compressed.catch(() => {});
    await uploads.ended().catch(() => {});
  }
  return { files, bytes, uploaded };
}

/** In the order of the store's keys, each content once. */
async function missing(part: readonly StoredFile[], stored: InStore, files: string): Promise<StoredFile[]> {
  const contents = new Map(part.map((file) => [sha1Of(file.name), file]));
  const sorted = [...contents.entries()].sort(([one], [other]) => (one < other ? -1 : 1));
  const absent: StoredFile[] = [];
  for (const [, file] of sorted) if (!(await stored.has(contentKey(files, file.name), file.bytes))) absent.push(file);
  return absent;
}

/** What is below a prefix, asked for in the order of keys: one list for all questions, however many there are. */
class InStore {
  private readonly objects: AsyncIterator<{ readonly key: string; readonly bytes: number }>;
  private next: IteratorResult<{ readonly key: string; readonly bytes: number }> | undefined;

  constructor(store: ObjectStore, prefix: string) {
    this.objects = store.list(prefix)[Symbol.asyncIterator]();
  }

  /** With this size: another one is not what was sent. */
  async has(key: string, bytes: number): Promise<boolean> {
    this.next ??= await this.objects.next();
    while (!this.next.done && this.next.value.key < key) this.next = await this.objects.next();
    return !this.next.done && this.next.value.key === key && this.next.value.bytes === bytes;
  }
}
