import { type ChildProcess, spawn } from 'node:child_process';
import { createHash, randomBytes } from 'node:crypto';
import { once } from 'node:events';
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { buffer } from 'node:stream/consumers';
import { gunzipSync } from 'node:zlib';
import { afterAll, beforeAll, beforeEach, expect, it } from '@jest/globals';
import { newId } from '#contracts/index.js';
import { createTestBucket, type TestBucket } from '#testing/bucket.js';
import { waitFor } from '#testing/wait-for.js';
import type { FilesTask } from './application/do-files-task.js';
import { type FilesResult, readResult } from './domain/files-result.js';
import { isStoredName } from './domain/stored-file.js';
import { S3ObjectStore } from './infrastructure/s3-object-store.js';

// The program as its image starts it, from what was compiled last, on a folder in place of a volume.
const root = resolve(import.meta.dirname, '../../..');
const program = join(root, 'dist/apps/backup/src/files-worker.js');

let bucket: TestBucket;
let store: S3ObjectStore;
let top: string;
/** Of each test its own. */
let files: string;
let index: string;
let volume: string;
let started: ChildProcess[] = [];

beforeAll(async () => {
  bucket = await createTestBucket('files-worker');
  store = new S3ObjectStore({ ...bucket, encryption: 'none', objectLock: 'none', deadlineMs: 30_000 });
  top = mkdtempSync(join(tmpdir(), 'mesh-files-worker-'));
});
afterAll(async () => {
  for (const child of started) child.kill('SIGKILL');
  store?.close();
  await bucket?.drop();
  rmSync(top, { recursive: true });
});
beforeEach(() => {
  const id = newId();
  files = `m/${id}/files/`;
  index = `m/${id}/backups/index`;
  volume = join(top, id);
  mkdirSync(join(volume, 'o1'), { recursive: true });
});

interface Ended {
  readonly code: number | null;
  readonly result: FilesResult | undefined;
  /** The most that was resident, in bytes. */
  readonly peak: number;
}

function start(task: FilesTask, { endpoint, deadline } = { endpoint: bucket.endpoint, deadline: '20s' }) {
  const resultFile = join(volume, `result-${newId()}`);
  const child = spawn(process.execPath, ['--max-old-space-size=320', program], {
    env: {
      MESH_FILES_TASK: JSON.stringify(task),
      MESH_FILESTORE: volume,
      MESH_RESULT_FILE: resultFile,
      MESH_S3_ENDPOINT: endpoint,
      MESH_S3_REGION: bucket.region,
      MESH_S3_BUCKET: bucket.bucket,
      MESH_S3_ACCESS_KEY: bucket.accessKey,
      MESH_S3_SECRET_KEY: bucket.secretKey,
      MESH_S3_ENCRYPTION: 'none',
      MESH_S3_DEADLINE: deadline,
    },
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  started = [...started.filter(({ exitCode }) => exitCode === null), child];
  let peak = 0;
  child.stdout!.resume();
  const looking = setInterval(() => {
    peak = Math.max(peak, peakOf(child.pid!));
  }, 20);
  const ended = once(child, 'close').then(([code]): Ended => {
    clearInterval(looking);
    const text = code === null ? undefined : readFileSync(resultFile, 'utf8');
    return { code, result: readResult(text), peak };
  });
  return { child, ended };
}

const run = async (task: FilesTask) => await start(task).ended;
const saveTask = (index: string): FilesTask => ({ kind: 'save', folder: 'o1', files, index });
const fillTask = (folder: string, ...indexes: string[]): FilesTask => ({ kind: 'fill', folder, files, indexes });

/** proc(5): 0 when it is gone. */
function peakOf(pid: number): number {
  try {
    return Number(/VmHWM:\s+(\d+) kB/.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1] ?? 0) * 1024;
  } catch {
    return 0;
  }
}

function attach(content: Buffer): string {
  const sha1 = createHash('sha1').update(content).digest('hex');
  const name = `${sha1.slice(0, 2)}/${sha1}`;
  mkdirSync(join(volume, 'o1', sha1.slice(0, 2)), { recursive: true });
  writeFileSync(join(volume, 'o1', name), content);
  return name;
}

const attachMany = (count: number, bytes = 300) =>
  Array.from({ length: count }, () => attach(randomBytes(bytes))).sort();

function treeOf(folder: string): Record<string, string> {
  const entries = readdirSync(folder, { recursive: true, withFileTypes: true }).filter((one) => one.isFile());
  const paths = entries.map((one) => join(one.parentPath, one.name)).sort();
  const sha1 = (path: string) => createHash('sha1').update(readFileSync(path)).digest('hex');
  return Object.fromEntries(paths.map((path) => [path.slice(folder.length + 1), sha1(path)]));
}

async function keysBelow(prefix: string): Promise<string[]> {
  const keys: string[] = [];
  for await (const { key } of store.list(prefix)) keys.push(key);
  return keys;
}

const indexed = async (index: string): Promise<string[]> =>
  gunzipSync(await buffer(await store.get(index)))
    .toString()
    .split('\n')
    .filter(Boolean)
    .map((line) => JSON.parse(line).name);

it('saved and filled, a filestore is the same; a large file too; modes are those of Odoo’s own', async () => {
  const names = [...attachMany(20), attach(randomBytes(20_000_000)), attach(Buffer.alloc(0))].sort();
  const bytes = names.reduce((sum, name) => sum + statSync(join(volume, 'o1', name)).size, 0);
  expect(await run(saveTask(index))).toMatchObject({ code: 0, result: { files: 22, bytes, carried: 22 } });
  expect(await indexed(index)).toEqual(names);
  expect(await run(fillTask('o2', index))).toMatchObject({ code: 0, result: { files: 22, bytes, carried: 22 } });
  expect(treeOf(join(volume, 'o2'))).toEqual(treeOf(join(volume, 'o1')));
  const mode = (path: string) => statSync(join(volume, path)).mode & 0o777;
  expect([mode(`o2/${names[0]}`), mode('o2'), mode(`o2/${names[0]!.slice(0, 2)}`)]).toEqual([
    mode(`o1/${names[0]}`),
    mode('o1'),
    mode(`o1/${names[0]!.slice(0, 2)}`),
  ]);
});

it('killed in the middle of a save, it brings the rest; thousands of files need no more memory than fifty', async () => {
  attachMany(50);
  const few = await run(saveTask(index));
  expect(few).toMatchObject({ code: 0 });
  // Together more than may be in memory.
  const names = [...(await indexed(index)), ...attachMany(1_950, 100_000)].sort();

  const killed = start(saveTask(`${index}.2`));
  await waitFor('some of them to be there', async () => (await keysBelow(files)).length > 200, { timeoutMs: 60_000 });
  killed.child.kill('SIGKILL');
  expect(await killed.ended).toMatchObject({ code: null });
  expect(await store.head(`${index}.2`)).toBeUndefined();
  const there = (await keysBelow(files)).length;
  expect(there).toBeLessThan(2_000);

  const rest = await run(saveTask(`${index}.2`));
  expect(rest).toMatchObject({ code: 0, result: { files: 2_000, carried: 2_000 - there } });
  expect(await indexed(`${index}.2`)).toEqual(names);
  expect((await keysBelow(files)).length).toBe(2_000);
  // What an engine takes more when it has worked for longer, and on a busy machine has tidied up later.
  expect(rest.peak).toBeLessThan(few.peak + 120_000_000);
});

it('killed in the middle of a fill, it brings the rest', async () => {
  attachMany(1_000);
  await run(saveTask(index));
  const killed = start(fillTask('o2', index));
  const brought = () =>
    existsSync(join(volume, 'o2')) &&
    readdirSync(join(volume, 'o2'), { recursive: true }).filter((name) => isStoredName(String(name))).length;
  await waitFor('some of them to be brought', () => Number(brought()) > 100, { timeoutMs: 60_000 });
  killed.child.kill('SIGKILL');
  expect(await killed.ended).toMatchObject({ code: null });
  const there = Number(brought());
  expect(there).toBeLessThan(1_000);
  expect(await run(fillTask('o2', index))).toMatchObject({
    code: 0,
    result: { files: 1_000, carried: 1_000 - there },
  });
  expect(treeOf(join(volume, 'o2'))).toEqual(treeOf(join(volume, 'o1')));
});

it('told to end it ends at once, and says that it is not done', async () => {
  attachMany(1_000);
  const working = start(saveTask(index));
  await waitFor('it to work', async () => (await keysBelow(files)).length > 100, { timeoutMs: 60_000 });
  working.child.kill('SIGTERM');
  expect(await working.ended).toMatchObject({
    code: 1,
    result: { code: 'FILES_NOT_CARRIED', message: expect.stringContaining('SIGTERM') },
  });
});

it('one flipped byte in the store is found, and nobody tries that again', async () => {
  const [name] = attachMany(3, 5_000);
  await run(saveTask(index));
  const key = `${files}${name}`;
  const content = await buffer(await store.get(key));
  content[2_500]! ^= 1;
  await store.putSmall(key, content, {});
  expect(await run(fillTask('o2', index))).toMatchObject({
    code: 2,
    result: { code: 'CORRUPTED', message: expect.stringContaining(key) },
  });
});

it('a damaged file is named, the others are sent, and there is no index', async () => {
  const [bad] = attachMany(10, 2_000);
  truncateSync(join(volume, 'o1', bad!), 1_000);
  expect(await run(saveTask(index))).toMatchObject({
    code: 2,
    result: { code: 'FILE_DAMAGED', message: expect.stringContaining(bad!) },
  });
  expect(await store.head(index)).toBeUndefined();
  expect((await keysBelow(files)).length).toBe(9);
});

it('without the store it says so, and may be tried again', async () => {
  attachMany(1);
  const nowhere = start(saveTask(index), { endpoint: 'http://127.0.0.1:9', deadline: '1s' });
  expect(await nowhere.ended).toMatchObject({ code: 1, result: { code: 'STORE_REFUSES' } });
});
