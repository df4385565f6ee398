import { Readable } from 'node:stream';
import { S3ObjectStore } from './s3-object-store.js';

// A program that writes one object without an end, and says so when parts of it have arrived. Its settings come on stdin.
const settings = JSON.parse(await new Response(Readable.toWeb(process.stdin) as ReadableStream).text());

async function* endless() {
  for (let sent = 0; ; sent += 1) {
    // Part after part waits for its turn: when the sixth is asked for, the first has been answered.
    if (sent === 48) process.stdout.write('under way\n');
    yield Buffer.alloc(1024 * 1024);
  }
}

await new S3ObjectStore(settings).put('endless/dump', Readable.from(endless()), {});
