import { createHash, randomUUID } from 'node:crypto';
import { addAbortSignal, type Readable } from 'node:stream';
import {
  AbortMultipartUploadCommand,
  type CompletedPart,
  CompleteMultipartUploadCommand,
  CreateMultipartUploadCommand,
  HeadObjectCommand,
  PutObjectCommand,
  type PutObjectCommandInput,
  UploadPartCommand,
} from '@aws-sdk/client-s3';
import { ObjectStoreError, type Stored } from '../application/ports.js';
import type { How, S3Requests } from './s3-requests.js';

/** So many parts are under way at once, and one is being filled: 32 MiB, until an object has a thousand parts. */
const atOnce = 3;
const firstPartBytes = 8 * 1024 * 1024;
/** S3 knows no more of one object. */
const mostParts = 10_000;

/** Parts grow, so that a small object takes little memory and 430 GiB can be sent. */
function bytesOfPart(number: number): number {
  return firstPartBytes * (1 + Math.floor(number / 1000));
}

interface Part {
  readonly number: number;
  readonly bytes: Buffer;
  readonly last: boolean;
}

/**
 * Sends a stream as one object: at once when it is short, else in parts. It is not the upload of `@aws-sdk/lib-storage`
 * because that one, when it is aborted, says so while parts are still under way, goes on reading a stream after a part
 * has failed, and does not ask before each request whether it may.
 */
export async function upload(
  requests: S3Requests,
  about: Omit<PutObjectCommandInput, 'Bucket' | 'Key' | 'Body'> & { readonly Key: string },
  content: Readable,
  { fence, signal }: Pick<How, 'fence' | 'signal'>,
): Promise<Stored> {
  // Whatever goes wrong first ends all the rest.
  const wrong = new AbortController();
  const ended = signal ? AbortSignal.any([signal, wrong.signal]) : wrong.signal;
  const how = { to: `write ${about.Key}`, fence, signal: ended };
  const target = { Bucket: requests.bucket, Key: about.Key };
  const hash = createHash('sha256');
  let bytes = 0;
  addAbortSignal(ended, content);
  const underWay = new Set<Promise<void>>();
  const parts: CompletedPart[] = [];
  // By it we know an object of ours again when the answer to its completion was lost.
  const mark = randomUUID();
  let UploadId: string | undefined;
  let completing = false;

  const sendPart = async ({ number: PartNumber, bytes: Body }: Part) => {
    const command = new UploadPartCommand({ ...target, UploadId, PartNumber, Body, ChecksumAlgorithm: 'CRC32' });
    const { ETag, ChecksumCRC32 } = await requests.send(command, how);
    parts.push({ PartNumber, ETag, ChecksumCRC32 });
  };

  try {
    for await (const part of partsOf(content)) {
      hash.update(part.bytes);
      bytes += part.bytes.length;
      if (part.last && part.number === 1) {
        await requests.send(new PutObjectCommand({ ...about, ...target, Body: part.bytes }), how);
        return { bytes, sha256: hash.digest('hex') };
      }
      if (part.number > mostParts) throw new ObjectStoreError(`${about.Key} is too large: ${bytes} bytes`, false);
      UploadId ??= (
        await requests.send(
          new CreateMultipartUploadCommand({
            ...about,
            ...target,
            Metadata: { ...about.Metadata, upload: mark },
            ChecksumAlgorithm: 'CRC32',
          }),
          // Waited for whatever happens: without its answer nobody could take back what it has begun.
          { ...how, signal: undefined },
        )
      ).UploadId;
      while (underWay.size >= atOnce) await Promise.race(underWay);
      ended.throwIfAborted();
      const sending: Promise<void> = sendPart(part)
        .catch((error) => wrong.abort(error))
        .finally(() => underWay.delete(sending));
      underWay.add(sending);
    }
    await Promise.all(underWay);
    ended.throwIfAborted();
    completing = true;
    const Parts = parts.sort((a, b) => Number(a.PartNumber) - Number(b.PartNumber));
    const command = new CompleteMultipartUploadCommand({ ...target, UploadId, MultipartUpload: { Parts } });
    await requests.send(command, how);
  } catch (error) {
    wrong.abort(error);
    content.destroy();
    await Promise.all(underWay);
    const aborted = UploadId ? await abort(requests, { ...target, UploadId }) : true;
    // No upload of that name any more: it was completed, and the answer to that was lost.
    if (!aborted && completing && (await isThere(requests, target, mark))) return { bytes, sha256: hash.digest('hex') };
    throw signal?.aborted ? signal.reason : wrong.signal.reason;
  }
  return { bytes, sha256: hash.digest('hex') };
}

async function* partsOf(content: Readable): AsyncGenerator<Part> {
  let number = 1;
  let chunks: Buffer[] = [];
  let size = 0;
  const fill = (last: boolean): Part => {
    const part = { number, bytes: Buffer.concat(chunks, size), last };
    number += 1;
    chunks = [];
    size = 0;
    return part;
  };
  for await (const chunk of content) {
    const bytes = Buffer.isBuffer(chunk) ? chunk : Buffer.from(chunk);
    chunks.push(bytes);
    size += bytes.length;
    if (size >= bytesOfPart(number)) yield fill(false);
  }
  if (size > 0 || number === 1) yield fill(true);
}

/**
 * Best effort, and without a fence: nobody but us knows this upload, so it is nobody's. What stays is found later.
 * @returns false: there is no such upload.
 */
async function abort(
  requests: S3Requests,
  upload: { readonly Bucket: string; readonly Key: string; readonly UploadId: string },
): Promise<boolean> {
  try {
    const how = { to: `clean up after ${upload.Key}`, expected: ['NoSuchUpload'] };
    await requests.send(new AbortMultipartUploadCommand(upload), how);
    return true;
  } catch (error) {
    return !(error instanceof Error && error.name === 'NoSuchUpload');
  }
}

async function isThere(
  requests: S3Requests,
  target: { readonly Bucket: string; readonly Key: string },
  mark: string,
): Promise<boolean> {
  try {
    const { Metadata } = await requests.send(new HeadObjectCommand(target), { to: `look for ${target.Key}` });
    return Metadata?.upload === mark;
  } catch {
    return false; // the first error is the one to tell
  }
}
