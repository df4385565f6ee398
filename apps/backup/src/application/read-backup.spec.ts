import { createHash, randomBytes } from 'node:crypto';
import { Readable } from 'node:stream';
import { buffer } from 'node:stream/consumers';
import { expect, it } from '@jest/globals';
import type { BackupSettings } from './ports.js';
import { ReadBackup } from './read-backup.js';
import { StoreInMemory } from './store-in-memory.fixture.js';

const key = 'm/c/i/backups/b/database-7.dump';
const { signal } = new AbortController();
const dump = randomBytes(3_000_000);
const written = { sha256: createHash('sha256').update(dump).digest('hex'), bytes: dump.length };

/** In pieces, so that who does not read on makes the others wait. */
function reading(content: Buffer = dump) {
  const store = new StoreInMemory();
  store.objects.set(key, content);
  let reads = 0;
  store.answer = (_, whole) => {
    reads += 1;
    return Readable.from(Array.from({ length: 30 }, (__, n) => whole.subarray(n * 100_000, (n + 1) * 100_000)));
  };
  const read = new ReadBackup(store, { meshName: 'm' } as BackupSettings);
  return { store, read, reads: () => reads };
}

it('reads a dump once, for its sum and for who looks at what it holds', async () => {
  const { read, reads } = reading();
  let seen = Buffer.alloc(0);
  await read.whole(key, written, signal, async (content) => {
    seen = Buffer.from(await buffer(content));
  });
  expect(seen.equals(dump)).toBe(true);
  expect(reads()).toBe(1);
});

it('sums what is behind the point where nobody looks on', async () => {
  const spoilt = Buffer.from(dump);
  spoilt[dump.length - 1]! ^= 1;
  const first = async (content: Readable) => {
    for await (const _ of content) break;
  };
  await reading().read.whole(key, written, signal, first);
  await expect(reading(spoilt).read.whole(key, written, signal, first)).rejects.toMatchObject({ code: 'CORRUPTED' });
});

it('says what was found in a dump that is what was written, and of another one that it is another', async () => {
  const unreadable = async (content: Readable) => {
    await buffer(content);
    throw new Error('it cannot be listed');
  };
  await expect(reading().read.whole(key, written, signal, unreadable)).rejects.toThrow('it cannot be listed');
  const shorter = reading(dump.subarray(0, 1_000_000));
  await expect(shorter.read.whole(key, written, signal, unreadable)).rejects.toMatchObject({ code: 'CORRUPTED' });
});

it('ends who looks when the store breaks off', async () => {
  const { store, read } = reading();
  store.answer = () =>
    Readable.from(
      (async function* () {
        yield dump.subarray(0, 100_000);
        throw new Error('the store is gone');
      })(),
    );
  let ended: unknown;
  const look = async (content: Readable) => {
    await buffer(content).catch((error) => {
      ended = error;
      throw error;
    });
  };
  await expect(read.whole(key, written, signal, look)).rejects.toThrow('the store is gone');
  expect(ended).toMatchObject({ message: 'the store is gone' });
});
