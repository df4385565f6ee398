import { spawn } from 'node:child_process';
import { createHash, randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { mkdirSync, mkdtempSync, readdirSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { Readable } from 'node:stream';
import { buffer } from 'node:stream/consumers';
import {
  DeleteObjectCommand,
  ListMultipartUploadsCommand,
  ListObjectVersionsCommand,
  ListPartsCommand,
  S3Client,
} from '@aws-sdk/client-s3';
import { afterAll, afterEach, beforeAll, describe, expect, test } from '@jest/globals';
import { transformFile } from '@swc/core';
import type { StorageSettings } from '#object-storage/index.js';
import { createTestBucket, type TestBucket } from '#testing/bucket.js';
import { TcpProxy } from '#testing/tcp-proxy.js';
import { waitFor } from '#testing/wait-for.js';
import { ObjectLocked, ObjectMissing, ObjectStoreError } from '../application/ports.js';
import { S3ObjectStore } from './s3-object-store.js';

const mebibyte = 1024 * 1024;
let bucket: TestBucket;
let settings: StorageSettings;
let store: S3ObjectStore;
/** As an administrator looks at it. */
let client: S3Client;
const stores: S3ObjectStore[] = [];
const storeWith = (other: Partial<StorageSettings>) => {
  const made = new S3ObjectStore({ ...settings, ...other });
  stores.push(made);
  return made;
};

beforeAll(async () => {
  bucket = await createTestBucket('store');
  const { endpoint, region, accessKey, secretKey } = bucket;
  settings = {
    endpoint,
    region,
    accessKey,
    secretKey,
    bucket: bucket.bucket,
    encryption: 'AES256',
    objectLock: 'none',
    deadlineMs: 30_000,
  };
  store = storeWith({});
  const credentials = { accessKeyId: accessKey, secretAccessKey: secretKey };
  client = new S3Client({ endpoint, region, forcePathStyle: true, credentials });
});
afterAll(async () => {
  for (const made of stores) made.close();
  client?.destroy();
  await bucket?.drop();
});

const sha256 = (bytes: Buffer) => createHash('sha256').update(bytes).digest('hex');
/** In pieces as a pipe gives them; `after` that many bytes something comes. */
function streamOf(content: Buffer, after?: { readonly bytes: number; readonly comes: () => void }): Readable {
  return Readable.from(
    (function* () {
      for (let at = 0; at < content.length; at += 65_536) {
        if (after && at >= after.bytes) after.comes();
        yield content.subarray(at, at + 65_536);
      }
    })(),
  );
}
async function keysBelow(prefix: string, of = store): Promise<string[]> {
  const keys: string[] = [];
  for await (const { key } of of.list(prefix)) keys.push(key);
  return keys;
}
const nothingBelow = async (prefix: string) => {
  expect(await keysBelow(prefix)).toEqual([]);
  expect(await store.removeUnfinished(prefix)).toBe(0);
};

describe('an object', () => {
  test.each([
    ['empty', 0],
    ['of one part', 3 * mebibyte + 7],
    ['of exactly one part', 8 * mebibyte],
    ['of several parts', 37 * mebibyte + 1],
  ])('that is %s comes back as it was sent, with its size and SHA-256', async (_, size) => {
    const content = randomBytes(size);
    const key = `back/${size}`;
    expect(await store.put(key, streamOf(content), {})).toEqual({ bytes: size, sha256: sha256(content) });
    expect(await store.head(key)).toEqual({ bytes: size, modified: expect.any(Date) });
    expect((await buffer(await store.get(key))).equals(content)).toBe(true);
    await nothingBelow(`${key}.`);
  });

  test('that is small is written whole, and written again is the newer one', async () => {
    const written = { contentType: 'application/json' };
    await store.putSmall('small/manifest.json', '{"a":1}', written);
    const stored = await store.putSmall('small/manifest.json', '{"a":2}', written);
    expect(stored).toEqual({ bytes: 7, sha256: sha256(Buffer.from('{"a":2}')) });
    expect(String(await buffer(await store.get('small/manifest.json')))).toBe('{"a":2}');
  });

  test('that is not there is missing to who reads it, and undefined to who looks', async () => {
    await expect(store.get('nowhere/x')).rejects.toThrow(ObjectMissing);
    expect(await store.head('nowhere/x')).toBeUndefined();
  });

  test('that is removed is gone with all its versions, and its neighbours stay', async () => {
    for (const content of ['1', '2', '3']) await store.putSmall('versions/a', content, {});
    await client.send(new DeleteObjectCommand({ Bucket: bucket.bucket, Key: 'versions/a' }));
    await store.putSmall('versions/ab', 'neighbour', {});
    await store.remove(['versions/a', 'versions/never-was']);
    const left = await client.send(new ListObjectVersionsCommand({ Bucket: bucket.bucket, Prefix: 'versions/' }));
    expect(left.Versions?.map(({ Key }) => Key)).toEqual(['versions/ab']);
    expect(left.DeleteMarkers ?? []).toEqual([]);
  });

  test('is one of more than a page, which are listed in their order and removed together', async () => {
    const keys = Array.from({ length: 1_011 }, (_, index) => {
      const name = String(index).padStart(4, '0');
      return `many/${name.slice(0, 2)}/${name}`;
    });
    for (let at = 0; at < keys.length; at += 20)
      await Promise.all(keys.slice(at, at + 20).map((key) => store.putSmall(key, key, {})));
    expect(await keysBelow('many/')).toEqual(keys);
    await store.remove(keys);
    expect(await keysBelow('many/')).toEqual([]);
  });
});

describe('an upload that does not end well leaves no object and no parts', () => {
  const content = randomBytes(40 * mebibyte);

  test('when the stream breaks', async () => {
    const broken = new Error('pg_dump ended with 1');
    const stream = streamOf(content, {
      bytes: 30 * mebibyte,
      comes: () => {
        throw broken;
      },
    });
    await expect(store.put('broken/dump', stream, {})).rejects.toBe(broken);
    await nothingBelow('broken/');
  });

  // The first is that of the beginning, the last that of the completion: five parts are between them.
  test.each([1, 2, 4, 7])('when the lease is lost before request %d', async (lostAt) => {
    let asked = 0;
    const lost = new Error('the lease is lost');
    const fence = () => {
      asked += 1;
      if (asked >= lostAt) throw lost;
    };
    const stream = streamOf(content);
    await expect(store.put(`lost-${lostAt}/dump`, stream, { fence })).rejects.toBe(lost);
    expect(stream.destroyed).toBe(true);
    await nothingBelow(`lost-${lostAt}/`);
  });

  test('when the lease is lost before the only request', async () => {
    const lost = new Error('the lease is lost');
    const fence = () => {
      throw lost;
    };
    await expect(store.put('short/dump', streamOf(content.subarray(0, 10)), { fence })).rejects.toBe(lost);
    await expect(store.putSmall('short/small', 'x', { fence })).rejects.toBe(lost);
    await nothingBelow('short/');
  });

  test('when it is called off, though the stream stands still', async () => {
    const stop = new AbortController();
    const still = new Readable({ read() {} });
    still.push(content.subarray(0, 30 * mebibyte));
    const writing = store.put('called-off/dump', still, { signal: stop.signal });
    const calledOff = new Error('the deadline has passed');
    setImmediate(() => stop.abort(calledOff));
    await expect(writing).rejects.toBe(calledOff);
    await nothingBelow('called-off/');
  });

  test('when the store goes away in the middle, though the stream stands still, and parts are found when it is back', async () => {
    const proxy = await TcpProxy.before(settings.endpoint);
    try {
      const through = storeWith({ endpoint: proxy.through(settings.endpoint), deadlineMs: 5_000 });
      const still = new Readable({ read() {} });
      still.push(content.subarray(0, 9 * mebibyte));
      const writing = through.put('away/dump', still, {}).catch((error) => error);
      await waitFor('a part has arrived', async () => (await partsBelow('away/')) > 0);
      proxy.cut();
      proxy.refuse(true);
      still.push(content.subarray(0, 9 * mebibyte));
      expect(await writing).toEqual(expect.objectContaining({ name: 'ObjectStoreError', retryable: true }));
      expect(await keysBelow('away/')).toEqual([]);
      expect(await store.removeUnfinished('away/')).toBe(1);
    } finally {
      await proxy.close();
    }
  });
});

/** Of uploads that are not complete. */
async function partsBelow(prefix: string): Promise<number> {
  const Bucket = bucket.bucket;
  const { Uploads = [] } = await client.send(new ListMultipartUploadsCommand({ Bucket, Prefix: prefix }));
  const parts = Uploads.map(({ Key, UploadId }) => client.send(new ListPartsCommand({ Bucket, Key, UploadId })));
  return (await Promise.all(parts)).reduce((sum, { Parts = [] }) => sum + Parts.length, 0);
}

test('connections that are cut again and again are waited out, and the object is whole', async () => {
  const content = randomBytes(20 * mebibyte);
  const proxy = await TcpProxy.before(settings.endpoint);
  try {
    const through = storeWith({ endpoint: proxy.through(settings.endpoint) });
    let cut = 0;
    proxy.faults.watch = () => {
      if (cut === 6) return undefined;
      cut += 1;
      return 'cut';
    };
    expect((await through.put('cut/dump', streamOf(content), {})).sha256).toBe(sha256(content));
    expect(cut).toBe(6);
    expect((await buffer(await store.get('cut/dump'))).equals(content)).toBe(true);
  } finally {
    await proxy.close();
  }
});

test('an upload whose answer to the completion is lost is known again as done', async () => {
  const content = randomBytes(20 * mebibyte);
  const proxy = await TcpProxy.before(settings.endpoint);
  try {
    const through = storeWith({ endpoint: proxy.through(settings.endpoint), deadlineMs: 5_000 });
    let lost = 0;
    let completing = false;
    proxy.faults.watch = (chunk, direction) => {
      // Only the first completion arrives, and its answer does not; what is asked afterwards is answered.
      if (direction === 'up' && lost > 0) return chunk.includes('POST ') ? 'cut' : undefined;
      if (direction === 'up' && chunk.includes('<CompleteMultipartUpload')) completing = true;
      if (direction === 'up' || !completing || lost > 0) return undefined;
      lost += 1;
      return 'cut';
    };
    expect(await through.put('answer-lost/dump', streamOf(content), {})).toEqual({
      bytes: content.length,
      sha256: sha256(content),
    });
    expect(lost).toBe(1);
    expect((await buffer(await store.get('answer-lost/dump'))).equals(content)).toBe(true);
    expect(await store.removeUnfinished('answer-lost/')).toBe(0);
  } finally {
    await proxy.close();
  }
});

describe('a program that is killed in the middle of an upload', () => {
  let folder: string;
  beforeAll(async () => {
    // Made of these sources, and not of an older build.
    folder = mkdtempSync(join(tmpdir(), 's3-upload-'));
    symlinkSync(resolve('node_modules'), join(folder, 'node_modules'));
    writeFileSync(join(folder, 'package.json'), '{"type":"module"}');
    const needed = /^(s3-object-store|s3-requests|s3-upload|s3-upload\.fixture|ports)\.ts$/;
    for (const room of ['infrastructure', 'application']) {
      const source = join(import.meta.dirname, '..', room);
      mkdirSync(join(folder, room));
      for (const file of readdirSync(source).filter((name) => needed.test(name))) {
        const { code } = await transformFile(join(source, file));
        writeFileSync(join(folder, room, file.replace(/ts$/, 'js')), code);
      }
    }
  });
  afterAll(() => rmSync(folder, { recursive: true }));

  test('leaves parts and no object, and they are found and removed', async () => {
    const program = spawn(process.execPath, [join(folder, 'infrastructure/s3-upload.fixture.js')], {
      stdio: ['pipe', 'pipe', 'inherit'],
    });
    const ended = once(program, 'exit');
    program.stdin.end(JSON.stringify(settings));
    expect(String(await once(program.stdout, 'data'))).toBe('under way\n');
    program.kill('SIGKILL');
    expect(await ended).toEqual([null, 'SIGKILL']);

    expect(await partsBelow('endless/')).toBeGreaterThan(0);
    expect(await store.head('endless/dump')).toBeUndefined();
    const lost = new Error('the lease is lost');
    const fence = () => {
      throw lost;
    };
    await expect(store.removeUnfinished('endless/', fence)).rejects.toBe(lost);
    expect(await store.removeUnfinished('endless/')).toBe(1);
    expect(await store.removeUnfinished('endless/')).toBe(0);
    expect(await partsBelow('endless/')).toBe(0);
  });
});

test('memory stays flat while 300 MB go through, out and back', async () => {
  const chunk = randomBytes(65_536);
  const count = 4_800;
  let most = 0;
  const look = () => {
    most = Math.max(most, process.memoryUsage().arrayBuffers);
  };
  const before = process.memoryUsage().arrayBuffers;
  const source = Readable.from(
    (function* () {
      // A copy each time: what is held would be seen.
      for (let index = 0; index < count; index += 1, look()) yield Buffer.from(chunk);
    })(),
  );
  const sent = await store.put('flat/dump', source, {});
  expect(sent.bytes).toBe(count * chunk.length);
  const hash = createHash('sha256');
  for await (const part of await store.get('flat/dump')) {
    hash.update(part);
    look();
  }
  expect(hash.digest('hex')).toBe(sent.sha256);
  // Three parts under way, one that is filled, and what nobody has collected yet.
  expect((most - before) / mebibyte).toBeLessThan(150);
});

describe('a reading that breaks', () => {
  const content = randomBytes(24 * mebibyte);
  let proxy: TcpProxy;
  let through: S3ObjectStore;
  let impatient: S3ObjectStore;
  beforeAll(async () => {
    await store.put('read/dump', streamOf(content), {});
    proxy = await TcpProxy.before(settings.endpoint);
    const endpoint = proxy.through(settings.endpoint);
    through = storeWith({ endpoint });
    impatient = storeWith({ endpoint, deadlineMs: 4_000 });
  });
  afterEach(() => proxy.refuse(false));
  afterAll(() => proxy?.close());

  test('goes on where it was', async () => {
    const received: Buffer[] = [];
    let size = 0;
    let cuts = 0;
    for await (const part of await through.get('read/dump')) {
      received.push(part);
      size += part.length;
      if (size > (cuts + 1) * 5 * mebibyte) cuts += proxy.cut();
    }
    expect(cuts).toBeGreaterThan(1);
    expect(Buffer.concat(received).equals(content)).toBe(true);
  });

  test('is an error when the store stays away, and never a shorter object', async () => {
    const reading = (async () => {
      for await (const _ of await impatient.get('read/dump')) {
        proxy.refuse(true);
        proxy.cut();
      }
    })();
    await expect(reading).rejects.toThrow(ObjectStoreError);
  });

  test('is an error when the connection stands still', async () => {
    const reading = (async () => {
      for await (const _ of await impatient.get('read/dump')) proxy.stall(true);
    })();
    await expect(reading).rejects.toThrow(ObjectStoreError);
    proxy.stall(false);
  });

  test('is an error when the object has become another', async () => {
    await store.put('read/changes', streamOf(content), {});
    const reading = (async () => {
      let first = true;
      for await (const _ of await through.get('read/changes')) {
        if (!first) continue;
        first = false;
        await store.put('read/changes', streamOf(content.subarray(1)), {});
        proxy.cut();
      }
    })();
    await expect(reading).rejects.toThrow(/read\/changes.*412/s);
  });

  test('ends with the reason of who called it off', async () => {
    const stop = new AbortController();
    const calledOff = new Error('the deadline has passed');
    const reading = (async () => {
      for await (const _ of await through.get('read/dump', stop.signal)) stop.abort(calledOff);
    })();
    await expect(reading).rejects.toBe(calledOff);
  });

  test('leaves no connection when nobody reads it', async () => {
    const unread = await through.get('read/dump');
    unread.destroy();
    await waitFor('the connection has ended', () => proxy.connections === 0);
  });
});

describe('object lock', () => {
  test('refuses a removal, and hinders no other', async () => {
    const locking = storeWith({ objectLock: 'governance' });
    const until = new Date(Math.ceil(Date.now() / 1000) * 1000 + 3_600_000);
    await locking.put('locked/dump', streamOf(randomBytes(9 * mebibyte)), { lockedUntil: until });
    await locking.putSmall('locked/manifest', 'x', { lockedUntil: until });
    await store.putSmall('locked/free', 'x', {});
    for (const key of ['locked/dump', 'locked/manifest']) {
      const refused = await locking.remove([key, 'locked/free']).catch((error) => error);
      expect(refused).toBeInstanceOf(ObjectLocked);
      expect(refused).toEqual(expect.objectContaining({ key, until }));
    }
    expect(await keysBelow('locked/')).toEqual(['locked/dump', 'locked/manifest']);
  });

  test('gives way when its time has come', async () => {
    const locking = storeWith({ objectLock: 'compliance' });
    await locking.putSmall('timed/x', 'x', {});
    await locking.lockUntil('timed/x', new Date(Date.now() + 5_000));
    await expect(locking.remove(['timed/x'])).rejects.toThrow(ObjectLocked);
    await waitFor('it is removed', () =>
      locking.remove(['timed/x']).then(
        () => true,
        () => false,
      ),
    );
    expect(await store.head('timed/x')).toBeUndefined();
  });

  test('lasts longer when it is asked for, and never shorter', async () => {
    const locking = storeWith({ objectLock: 'governance' });
    const hour = new Date(Math.ceil(Date.now() / 1000) * 1000 + 3_600_000);
    await locking.putSmall('longer/x', 'x', {});
    await locking.lockUntil('longer/x', hour);
    await locking.lockUntil('longer/x', new Date(Date.now() + 60_000));
    await expect(locking.remove(['longer/x'])).rejects.toThrow(hour.toISOString());
    await expect(locking.lockUntil('longer/nothing', hour)).rejects.toThrow(ObjectMissing);
  });

  test('hinders nobody from hiding an object: it is not found, what is written after it is, and its version stays', async () => {
    const locking = storeWith({ objectLock: 'governance' });
    await locking.putSmall('hidden/x', 'damaged', {});
    await locking.lockUntil('hidden/x', new Date(Date.now() + 3_600_000));
    await locking.hide('hidden/x');
    await locking.hide('hidden/x');
    expect(await keysBelow('hidden/')).toEqual([]);
    await expect(locking.get('hidden/x')).rejects.toThrow(ObjectMissing);
    await locking.putSmall('hidden/x', 'anew', {});
    expect((await buffer(await locking.get('hidden/x'))).toString()).toBe('anew');
    await expect(locking.remove(['hidden/x'])).rejects.toThrow(ObjectLocked);
  });

  test('does not bring back what was hidden: it is not found while it is held, whatever was written after it and is removed', async () => {
    const locking = storeWith({ objectLock: 'governance' });
    const until = new Date(Math.ceil(Date.now() / 1000) * 1000 + 3_600_000);
    await locking.putSmall('again/x', 'damaged', { lockedUntil: until });
    await locking.hide('again/x');
    await locking.putSmall('again/x', 'anew', {});
    const refused = await locking.remove(['again/x']).catch((error) => error);
    expect(refused).toEqual(expect.objectContaining({ key: 'again/x', until }));
    expect(await keysBelow('again/')).toEqual([]);
  });

  test('says of several that are held until when the last of them is', async () => {
    const locking = storeWith({ objectLock: 'governance' });
    const hour = new Date(Math.ceil(Date.now() / 1000) * 1000 + 3_600_000);
    const two = new Date(hour.getTime() + 3_600_000);
    await locking.putSmall('several/1', 'x', { lockedUntil: hour });
    await locking.putSmall('several/2', 'x', { lockedUntil: two });
    await locking.putSmall('several/3', 'x', { lockedUntil: hour });
    const refused = await locking.remove(['several/1', 'several/2', 'several/3']).catch((error) => error);
    expect(refused).toEqual(expect.objectContaining({ key: 'several/2', until: two }));
  });

  test('is not asked for where the settings have none', async () => {
    await store.putSmall('unlocked/x', 'x', { lockedUntil: new Date(Date.now() + 3_600_000) });
    await store.lockUntil('unlocked/x', new Date(Date.now() + 3_600_000));
    await store.remove(['unlocked/x']);
    expect(await store.head('unlocked/x')).toBeUndefined();
  });
});

describe('a store that cannot be asked', () => {
  const everything = (broken: S3ObjectStore): [string, () => Promise<unknown>][] => [
    ['get', () => broken.get('x/y')],
    ['head', () => broken.head('x/y')],
    ['list', () => keysBelow('x/', broken)],
    ['put', () => broken.put('x/y', Readable.from([Buffer.from('x')]), {})],
    ['remove', () => broken.remove(['x/y'])],
    ['hide', () => broken.hide('x/y')],
    ['removeUnfinished', () => broken.removeUnfinished('x/')],
  ];

  test.each<[string, () => Partial<StorageSettings>, RegExp, boolean]>([
    [
      'that is away',
      () => ({ endpoint: 'http://127.0.0.1:9', deadlineMs: 1_000 }),
      /http:\/\/127.0.0.1:9 .*see that it runs/,
      true,
    ],
    ['that does not know our secret', () => ({ secretKey: 'wrong' }), /keys/, false],
    ['that does not know our key', () => ({ accessKey: 'nobody' }), /keys/, false],
    ['that has no such bucket', () => ({ bucket: 'no-such-bucket' }), /bucket no-such-bucket/, false],
  ])('%s is an error that says what to do next, and nothing is missing', async (_, other, says, retryable) => {
    for (const [, call] of everything(storeWith(other()))) {
      const error = await call().then(
        () => undefined,
        (thrown) => thrown,
      );
      expect(error).toBeInstanceOf(ObjectStoreError);
      expect(error.message).toMatch(says);
      expect(error.retryable).toBe(retryable);
      expect(error.message).not.toContain(settings.secretKey);
    }
  });
});
