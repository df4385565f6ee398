import { pipeline } from 'node:stream';
import { createGunzip } from 'node:zlib';
import type { Log } from '#observability/log.js';
import { contentKey, keyOfSha1, readIndexLine, type StoredFile, sha1Of } from '../domain/stored-file.js';
import { NamedContent, NotItsName } from './named-content.js';
import type { FilesToFill, Filestore, ObjectStore } from './ports.js';
import { SeveralAtOnce } from './several-at-once.js';

const atOnce = 8;
const toldEach = 1_000;

export interface FilesFilled {
  readonly files: number;
  readonly bytes: number;
  readonly downloaded: number;
}

/** What the store holds under this key is not what was put there. */
export class Corrupted extends Error {
  override name = 'Corrupted';

  constructor(
    readonly key: string,
    options?: ErrorOptions,
  ) {
    super(`${key} is not what was put there`, options);
  }
}

/** What the store holds of these is not what was put there; the other files were brought. */
export class ContentsDamaged extends Error {
  override name = 'ContentsDamaged';

  constructor(
    files: string,
    /** By SHA-1; at least one. */
    readonly contents: readonly string[],
  ) {
    const [first, ...others] = contents.map((sha1) => keyOfSha1(files, sha1));
    super(`${first}${others.length > 0 ? ` and ${others.length} more are` : ' is'} not what was put there`);
  }
}

/**
 * Brings every file that an index names, each once, whatever the number of indexes. Begun again it brings only the rest.
 * Ends in ContentsDamaged when all others are brought, in Corrupted for an index that cannot be read; as the store ends for
 * what is not there.
 */
export async function fillFiles(
  { store, filestore, log }: { readonly store: ObjectStore; readonly filestore: Filestore; readonly log: Log },
  from: FilesToFill,
  signal: AbortSignal,
): Promise<FilesFilled> {
  const downloads = new SeveralAtOnce(atOnce);
  const damaged: string[] = [];
  let [files, bytes, downloaded] = [0, 0, 0];

  const bring = async ({ name }: StoredFile) => {
    if (await filestore.holds(name)) return;
    const key = contentKey(from.files, name);
    const source = await store.get(key, signal);
    const content = new NamedContent(name);
    pipeline(source, content, () => {}); // an error of it is the content's, for whoever reads that
    try {
      await filestore.write(name, content);
    } catch (error) {
      if (!(error instanceof NotItsName)) throw error;
      log.error('a content is not what its name says', { key });
      damaged.push(sha1Of(name));
      return;
    }
    downloaded += 1;
  };

  try {
    for await (const file of merged(from.indexes.map((key) => readIndex(store, key, signal)))) {
      signal.throwIfAborted();
      await downloads.add(() => bring(file));
      files += 1;
      bytes += file.bytes;
      if (files % toldEach === 0) log.info('filling files', { files, bytes, downloaded });
    }
    await downloads.ended();
    if (damaged.length > 0) throw new ContentsDamaged(from.files, damaged);
    await filestore.flush();
  } finally {
    await downloads.ended().catch(() => {});
  }
  return { files, bytes, downloaded };
}

/** Its lines, in their order, checked. */
export async function* readIndex(store: ObjectStore, key: string, signal?: AbortSignal): AsyncGenerator<StoredFile> {
  const source = await store.get(key, signal);
  const text = pipeline(source, createGunzip(), () => {}); // an error of either is the text's, for whoever reads that
  try {
    let before = '';
    for await (const line of linesOf(text.setEncoding('utf8'))) {
      const file = readIndexLine(line);
      if (file.name <= before) throw new Error('it is not in order');
      before = file.name;
      yield file;
    }
  } catch (error) {
    // What did not come whole says nothing about what is there.
    throw source.errored && source.errored === error ? error : new Corrupted(key, { cause: error });
  }
}

async function* linesOf(text: AsyncIterable<string>): AsyncGenerator<string> {
  let rest = '';
  for await (const chunk of text) {
    const lines = (rest + chunk).split('\n');
    rest = lines.pop()!;
    yield* lines;
  }
  if (rest !== '') yield rest;
}

/** All of several sorted lists in order, what stands in more than one of them once. */
async function* merged(lists: readonly AsyncGenerator<StoredFile>[]): AsyncGenerator<StoredFile> {
  const heads = await Promise.all(lists.map(async (list) => ({ list, next: await list.next() })));
  try {
    for (;;) {
      const names = heads.flatMap(({ next }) => (next.done ? [] : [next.value]));
      const least = names.reduce<StoredFile | undefined>((a, b) => (a && a.name <= b.name ? a : b), undefined);
      if (!least) return;
      yield least;
      for (const head of heads)
        if (!head.next.done && head.next.value.name === least.name) head.next = await head.list.next();
    }
  } finally {
    for (const { list } of heads) await list.return(undefined);
  }
}
