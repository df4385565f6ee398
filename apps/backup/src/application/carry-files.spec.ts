import { createHash } from 'node:crypto';
import {
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Readable, Writable } from 'node:stream';
import { gunzipSync, gzipSync } from 'node:zlib';
import { afterEach, beforeEach, expect, it } from '@jest/globals';
import { Log } from '#observability/log.js';
import { contentKey } from '../domain/stored-file.js';
import { FilestoreFolder } from '../infrastructure/filestore-folder.js';
import { doFilesTask, type FilesTask } from './do-files-task.js';
import { StoreInMemory } from './store-in-memory.fixture.js';

const files = 'm/c/i/files/';
const index = 'm/c/i/backups/b/files-7.ndjson.gz';
const log = new Log({ service: 'test', destination: new Writable({ write: (_, __, done) => done() }) });

let top: string;
let volume: string;
let store: StoreInMemory;
beforeEach(() => {
  top = mkdtempSync(join(tmpdir(), 'mesh-files-'));
  volume = join(top, 'filestore/o1');
  mkdirSync(volume, { recursive: true });
  store = new StoreInMemory();
});
afterEach(() => rmSync(top, { recursive: true }));

/** As Odoo writes it. @returns the name it is known by. */
function attach(content: string | Buffer, digits = 2, folder = volume): string {
  const sha1 = createHash('sha1').update(content).digest('hex');
  const name = `${sha1.slice(0, digits)}/${sha1}`;
  mkdirSync(join(folder, name.split('/')[0]!), { recursive: true });
  writeFileSync(join(folder, name), content);
  return name;
}

const run = (task: FilesTask, folder = volume, signal = new AbortController().signal) =>
  doFilesTask({ store, filestore: new FilestoreFolder(folder), log }, task, signal);
const save = () => run({ kind: 'save', folder: 'o1', files, index });
const target = () => join(top, 'other/filestore/o2');
const fill = (...indexes: string[]) => run({ kind: 'fill', folder: 'o2', files, indexes }, target());

const indexed = (key = index) =>
  gunzipSync(store.objects.get(key)!)
    .toString()
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => JSON.parse(line));

function treeOf(folder: string): Record<string, string> {
  const entries = readdirSync(folder, { recursive: true, withFileTypes: true }).filter((one) => one.isFile());
  return Object.fromEntries(
    entries
      .map((one) => join(one.parentPath, one.name))
      .sort()
      .map((path) => [path.slice(folder.length + 1), readFileSync(path, 'utf8')]),
  );
}

it('what the volume holds is in the store by its content, and the index names all of it', async () => {
  const names = ['one', 'two', 'x'.repeat(3_000_000), ''].map((content) => attach(content)).sort();
  expect(await save()).toEqual({ result: { files: 4, bytes: 3_000_006, carried: 4 }, hopeless: false });
  expect(indexed()).toEqual(names.map((name) => ({ name, bytes: statSync(join(volume, name)).size })));
  for (const name of names)
    expect(store.objects.get(contentKey(files, name))!.equals(readFileSync(join(volume, name)))).toBe(true);
  expect(store.puts.at(-1)).toBe(index);
});

it('the second save brings what is new, and what the store holds with another size', async () => {
  const [one] = ['one', 'two', 'three'].map((content) => attach(content));
  await save();
  attach('four');
  store.objects.set(contentKey(files, one!), Buffer.from('o'));
  expect(await save()).toMatchObject({ result: { files: 4, carried: 2 } });
  expect(store.objects.get(contentKey(files, one!))!.toString()).toBe('one');
});

it('a save that was cut off goes on: what is there is not sent again', async () => {
  for (let at = 0; at < 50; at++) attach(`content ${at}`);
  let taken = 0;
  store.beforePut = () => {
    taken += 1;
    if (taken > 20) throw new Error('the store went away');
  };
  expect(await save()).toEqual({
    result: { code: 'FILES_NOT_CARRIED', message: 'the store went away' },
    hopeless: false,
  });
  expect(store.objects.has(index)).toBe(false);
  const there = store.objects.size;
  store.beforePut = () => {};
  expect(await save()).toMatchObject({ result: { files: 50, carried: 50 - there } });
});

it('what is no attachment is left alone: the spool of deletions, unfinished files, links', async () => {
  const name = attach('one');
  mkdirSync(join(volume, 'checklist', name.split('/')[0]!), { recursive: true });
  writeFileSync(join(volume, 'checklist', name), '');
  writeFileSync(join(volume, `${name.split('/')[0]}/.${name.split('/')[1]}.17`), 'on');
  const other = createHash('sha1').update('elsewhere').digest('hex');
  mkdirSync(join(volume, other.slice(0, 2)), { recursive: true });
  symlinkSync('/etc/passwd', join(volume, other.slice(0, 2), other));
  expect(await save()).toMatchObject({ result: { files: 1 } });
  expect([...store.objects.keys()].sort()).toEqual([index, contentKey(files, name)].sort());
});

it('the folders of old databases, of three digits, come back as they were; their contents are kept once', async () => {
  const old = attach('old', 3);
  const both = [attach('both', 2), attach('both', 3)];
  attach('new');
  expect(await save()).toMatchObject({ result: { files: 4, carried: 3 } });
  expect(indexed().map(({ name }) => name)).toEqual(expect.arrayContaining([old, ...both]));
  expect(await fill(index)).toMatchObject({ result: { files: 4 } });
  expect(treeOf(target())).toEqual(treeOf(volume));
});

it.each([10, 2_000_000])(
  'a file of %i bytes that is not what its name says is named, and nothing passes for a backup',
  async (size) => {
    const good = attach('good');
    const bad = attach('b'.repeat(size));
    writeFileSync(join(volume, bad), 'c'.repeat(size));
    const { result, hopeless } = await save();
    expect([result, hopeless]).toEqual([{ code: 'FILE_DAMAGED', message: expect.stringContaining(bad) }, true]);
    expect([...store.objects.keys()]).toEqual([contentKey(files, good)]);
  },
);

it('a volume without the folder is no empty one', async () => {
  expect(await run({ kind: 'save', folder: 'o9', files, index }, join(top, 'filestore/o9'))).toMatchObject({
    result: { code: 'FOLDER_MISSING' },
    hopeless: true,
  });
});

it('an Odoo without files has an index without lines, and a folder of its own when it is filled', async () => {
  expect(await save()).toMatchObject({ result: { files: 0, bytes: 0, carried: 0 } });
  expect(await fill(index)).toMatchObject({ result: { files: 0 } });
  expect(readdirSync(target())).toEqual([]);
});

it('a file that vanishes while they are listed ends this look, and the next one does without it', async () => {
  attach('one');
  const vanishing = attach('two');
  const real = new FilestoreFolder(volume);
  const filestore = Object.assign(Object.create(real), {
    files: async function* () {
      for await (const part of real.files()) {
        rmSync(join(volume, vanishing), { force: true });
        yield part;
      }
    },
  });
  const task = { kind: 'save', folder: 'o1', files, index } as const;
  expect(await doFilesTask({ store, filestore, log }, task, new AbortController().signal)).toMatchObject({
    result: { code: 'FILE_VANISHED' },
    hopeless: false,
  });
  expect(store.objects.has(index)).toBe(false);
  expect(await save()).toMatchObject({ result: { files: 1 } });
});

it('told to end, it ends without an index', async () => {
  for (let at = 0; at < 20; at++) attach(`content ${at}`);
  const controller = new AbortController();
  store.beforePut = () => controller.abort();
  expect(await run({ kind: 'save', folder: 'o1', files, index }, volume, controller.signal)).toMatchObject({
    result: { code: 'FILES_NOT_CARRIED' },
    hopeless: false,
  });
  expect(store.objects.has(index)).toBe(false);
});

it('several indexes fill one folder, each file once, and a second fill brings nothing', async () => {
  attach('one');
  const gone = attach('two');
  await save();
  rmSync(join(volume, gone));
  attach('three');
  await run({ kind: 'save', folder: 'o1', files, index: 'later' });
  expect(await fill(index, 'later')).toEqual({ result: { files: 3, bytes: 11, carried: 3 }, hopeless: false });
  expect(treeOf(target())).toEqual({ ...treeOf(volume), [gone]: 'two' });
  expect(await fill(index, 'later')).toMatchObject({ result: { files: 3, carried: 0 } });
});

it('what is there and is not what its name says, or is half of it, is brought again', async () => {
  const name = attach('one');
  attach('two');
  await save();
  await fill(index);
  writeFileSync(join(target(), name), 'one and');
  writeFileSync(join(target(), `${name.split('/')[0]}/.${name.split('/')[1]}.unfinished`), 'o');
  expect(await fill(index)).toMatchObject({ result: { carried: 1 } });
  expect(readFileSync(join(target(), name), 'utf8')).toBe('one');
  expect(Object.keys(treeOf(target())).length).toBe(2);
});

it('one flipped byte is found, the object is named, and no file of that name appears', async () => {
  const name = attach('precious');
  await save();
  const key = contentKey(files, name);
  store.objects.get(key)![3]! ^= 1;
  expect(await fill(index)).toEqual({
    result: { code: 'CORRUPTED', message: expect.stringContaining(key), damaged: [name.split('/')[1]] },
    hopeless: true,
  });
  expect(treeOf(target())).toEqual({});
});

it('of several damaged contents all are told, and the others are brought', async () => {
  const damaged = Array.from({ length: 20 }, (_, at) => attach(`damaged ${at}`));
  const good = attach('good');
  await save();
  for (const name of damaged) store.objects.get(contentKey(files, name))![3]! ^= 1;
  const { result } = await fill(index);
  expect(result).toMatchObject({ code: 'CORRUPTED', message: expect.stringMatching(/ and 19 more are /) });
  expect([...(result as { damaged: readonly string[] }).damaged].sort()).toEqual(
    damaged.map((name) => name.split('/')[1]).sort(),
  );
  expect(treeOf(target())).toEqual({ [good]: 'good' });
});

it('an object that is not there is named, and trying again would not help', async () => {
  const key = contentKey(files, attach('one'));
  await save();
  store.objects.delete(key);
  expect(await fill(index)).toMatchObject({
    result: { code: 'OBJECT_MISSING', message: expect.stringContaining(key) },
    hopeless: true,
  });
});

it('an answer that breaks off is no corruption: it is asked for again', async () => {
  attach('one');
  await save();
  const breaking = (_: string, content: Buffer) =>
    Readable.from(
      (async function* () {
        yield content.subarray(0, 2);
        throw new Error('socket hang up');
      })(),
    );
  store.answer = (key, content) => (key === index ? Readable.from([content]) : breaking(key, content));
  expect(await fill(index)).toEqual({
    result: { code: 'FILES_NOT_CARRIED', message: 'socket hang up' },
    hopeless: false,
  });
  store.answer = breaking;
  expect(await fill(index)).toMatchObject({ result: { message: 'socket hang up' }, hopeless: false });
});

it.each([
  ['is cut', () => gzipSync('{"name":"x"}\n').subarray(0, 12)],
  ['is no gzip', () => Buffer.from('{}')],
  ['leads out of the folder', () => gzipSync('{"name":"da/../../../../x","bytes":1}\n')],
  [
    'is not in order',
    () =>
      gzipSync(
        indexed()
          .reverse()
          .map((line) => `${JSON.stringify(line)}\n`)
          .join(''),
      ),
  ],
])('an index that %s is corrupted, and is named', async (_, content) => {
  attach('one');
  attach('two');
  await save();
  store.objects.set(index, content());
  expect(await fill(index)).toMatchObject({
    result: { code: 'CORRUPTED', message: expect.stringContaining(index) },
    hopeless: true,
  });
});
