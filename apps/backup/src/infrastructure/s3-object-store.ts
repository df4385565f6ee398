import { createHash } from 'node:crypto';
import { Readable } from 'node:stream';
import {
  AbortMultipartUploadCommand,
  DeleteObjectCommand,
  DeleteObjectsCommand,
  GetBucketVersioningCommand,
  GetObjectCommand,
  GetObjectLegalHoldCommand,
  GetObjectRetentionCommand,
  HeadBucketCommand,
  HeadObjectCommand,
  ListMultipartUploadsCommand,
  ListObjectsV2Command,
  ListObjectVersionsCommand,
  type ObjectIdentifier,
  PutObjectCommand,
  type PutObjectCommandInput,
  PutObjectRetentionCommand,
  type _Error as S3Error,
} from '@aws-sdk/client-s3';
import type { StorageSettings } from '#object-storage/index.js';
import {
  type Fence,
  ObjectLocked,
  ObjectMissing,
  type ObjectSeen,
  ObjectStore,
  ObjectStoreError,
  type PutOptions,
  type Stored,
} from '../application/ports.js';
import { S3Requests } from './s3-requests.js';
import { upload } from './s3-upload.js';

const lockModes = { governance: 'GOVERNANCE', compliance: 'COMPLIANCE' } as const;
/** S3 takes no more in one request. */
const mostRemoved = 1000;
/** Requests at once, where each is about one object. */
const askedAtOnce = 16;
/** How many connections in a row may break without one byte before the reading of an object is given up. */
const fruitless = 3;

/** Stores say the same of what is locked and of what we may not do: AWS and versitygw the first, MinIO the second. */
const refusesLocked = ['AccessDenied', 'InvalidRequest'];
/** A lock that was over so long ago by our clock may not be by the store's. */
const clocksDifferMs = 60_000;

interface Version {
  readonly Key: string;
  readonly VersionId: string | undefined;
  /** It is no content, but the mark of a removal. */
  readonly hides: boolean;
}

interface Opened {
  readonly body: Readable;
  /** Of the whole object. */
  readonly bytes: number;
  readonly etag: string | undefined;
}

/** A bucket of a store that speaks S3. It has to be there; nothing here makes one. `close` ends its connections. */
export class S3ObjectStore extends ObjectStore {
  private readonly requests: S3Requests;
  private readonly Bucket: string;

  constructor(private readonly settings: StorageSettings) {
    super();
    this.requests = new S3Requests(settings);
    this.Bucket = settings.bucket;
  }

  async put(key: string, content: Readable, options: PutOptions): Promise<Stored> {
    return await upload(this.requests, { Key: key, ...this.about(options) }, content, options);
  }

  async putSmall(key: string, content: string | Buffer, options: PutOptions): Promise<Stored> {
    const { fence, signal } = options;
    const Body = Buffer.from(content);
    const command = new PutObjectCommand({ Bucket: this.Bucket, Key: key, Body, ...this.about(options) });
    await this.requests.send(command, { to: `write ${key}`, fence, signal });
    return { bytes: Body.length, sha256: createHash('sha256').update(Body).digest('hex') };
  }

  async get(key: string, signal?: AbortSignal): Promise<Readable> {
    const opened = await this.open(key, signal);
    const reading = { current: opened.body };
    const stream = Readable.from(this.content(key, opened, reading, signal), { objectMode: false });
    // Whoever never began to read has not begun the generator either.
    stream.once('close', () => reading.current.destroy());
    return stream;
  }

  async head(key: string): Promise<ObjectSeen | undefined> {
    const { Bucket } = this;
    const to = `look for ${key}`;
    try {
      const command = new HeadObjectCommand({ Bucket, Key: key });
      const { ContentLength, LastModified } = await this.requests.send(command, { to, expected: ['NotFound'] });
      return { bytes: Number(ContentLength), modified: LastModified! };
    } catch (error) {
      if (!isNamed(error, 'NotFound')) throw error;
    }
    // The answer has no body: it would be the same where there is no such bucket.
    await this.requests.send(new HeadBucketCommand({ Bucket }), { to, expected: ['NotFound'] }).catch((error) => {
      if (!isNamed(error, 'NotFound')) throw error;
      throw new ObjectStoreError(
        `cannot ${to}: the bucket ${Bucket} is not there; make it, or correct MESH_S3_BUCKET`,
        false,
      );
    });
    return undefined;
  }

  async *list(prefix: string): AsyncGenerator<ObjectSeen & { readonly key: string }> {
    const { Bucket } = this;
    let ContinuationToken: string | undefined;
    do {
      const command = new ListObjectsV2Command({ Bucket, Prefix: prefix, ContinuationToken });
      const page = await this.requests.send(command, { to: `list ${prefix}` });
      for (const { Key, Size, LastModified } of page.Contents ?? [])
        yield { key: String(Key), bytes: Number(Size), modified: LastModified! };
      ContinuationToken = page.IsTruncated ? page.NextContinuationToken : undefined;
    } while (ContinuationToken !== undefined);
  }

  async remove(keys: readonly string[], fence?: Fence): Promise<void> {
    if (keys.length === 0) return;
    const { Bucket } = this;
    const to = `remove ${keys.length === 1 ? keys[0] : `${keys.length} objects`}`;
    const { Status } = await this.requests.send(new GetBucketVersioningCommand({ Bucket }), { to });
    const locked: ObjectLocked[] = [];
    for (const some of slices(keys, mostRemoved)) {
      // Without a version's name it would be hidden, and still there.
      const found = Status
        ? await this.versionsOf(some)
        : some.map((Key) => ({ Key, VersionId: undefined, hides: false }));
      const remove = async (versions: readonly Version[]) => {
        const named = versions.map(({ Key, VersionId }) => ({ Key, VersionId }));
        for (const batch of slices(named, mostRemoved)) locked.push(...(await this.removeBatch(batch, to, fence)));
      };
      await remove(found.filter(({ hides }) => !hides));
      // What hides a version goes after it, and stays where that is held: it would be found again.
      const held = new Set(locked.map(({ key }) => key));
      await remove(found.filter(({ Key, hides }) => hides && !held.has(Key)));
    }
    // One that is held keeps no other.
    const until = (one: ObjectLocked) => one.until?.getTime() ?? Number.POSITIVE_INFINITY;
    if (locked.length > 0) throw locked.reduce((longest, one) => (until(one) > until(longest) ? one : longest));
  }

  async hide(key: string, fence?: Fence): Promise<void> {
    const command = new DeleteObjectCommand({ Bucket: this.Bucket, Key: key });
    await this.requests.send(command, { to: `hide ${key}`, fence });
  }

  async removeUnfinished(prefix: string, fence?: Fence): Promise<number> {
    const { Bucket } = this;
    const to = `remove what was left unfinished below ${prefix}`;
    let removed = 0;
    for (;;) {
      // Always from the beginning: what was there is gone.
      const command = new ListMultipartUploadsCommand({ Bucket, Prefix: prefix });
      const { Uploads = [], IsTruncated } = await this.requests.send(command, { to });
      for (const { Key, UploadId } of Uploads) {
        const abort = new AbortMultipartUploadCommand({ Bucket, Key, UploadId });
        await this.requests.send(abort, { to, fence, expected: ['NoSuchUpload'] }).catch((error) => {
          if (!isNamed(error, 'NoSuchUpload')) throw error;
        });
        removed += 1;
      }
      if (!IsTruncated || Uploads.length === 0) return removed;
    }
  }

  get locks(): boolean {
    return this.settings.objectLock !== 'none';
  }

  async lockUntil(key: string, until: Date, fence?: Fence): Promise<void> {
    const { objectLock } = this.settings;
    if (objectLock === 'none') return;
    const to = `lock ${key}`;
    const target = { Bucket: this.Bucket, Key: key };
    // Some keep whole seconds: what they have would end a moment earlier than what they were asked for.
    const whole = new Date(Math.ceil(until.getTime() / 1_000) * 1_000);
    const Retention = { Mode: lockModes[objectLock], RetainUntilDate: whole };
    const command = new PutObjectRetentionCommand({ ...target, Retention });
    const expected = ['NoSuchKey', ...refusesLocked];
    await this.requests.send(command, { to, fence, expected }).catch(async (error) => {
      if (isNamed(error, 'NoSuchKey')) throw new ObjectMissing(key);
      if (!isNamed(error, ...refusesLocked)) throw error;
      // A store refuses a lock that ends earlier than the one that stands, which is more than was asked for.
      const held = await this.heldUntil(target);
      if (held instanceof Date && held >= until) return;
      throw new ObjectStoreError(
        `cannot ${to}: the object store refused it (${error.message}); see that the bucket ${this.Bucket} has object lock and the keys may use it`,
        false,
        { cause: error },
      );
    });
  }

  close(): void {
    this.requests.close();
  }

  private about({ contentType, lockedUntil }: PutOptions): Partial<PutObjectCommandInput> {
    const { encryption, objectLock } = this.settings;
    return {
      ContentType: contentType ?? 'application/octet-stream',
      ...(encryption !== 'none' && { ServerSideEncryption: encryption }),
      ...(objectLock !== 'none' &&
        lockedUntil && { ObjectLockMode: lockModes[objectLock], ObjectLockRetainUntilDate: lockedUntil }),
    };
  }

  /** From a byte on, and only while it is the object that it was. */
  private async open(
    key: string,
    signal?: AbortSignal,
    from?: { at: number; etag: string | undefined },
  ): Promise<Opened> {
    const rest = from && { Range: `bytes=${from.at}-`, IfMatch: from.etag };
    const command = new GetObjectCommand({ Bucket: this.Bucket, Key: key, ...rest });
    const answer = await this.requests
      .send(command, { to: `read ${key}`, signal, expected: ['NoSuchKey'] })
      .catch((error) => {
        throw isNamed(error, 'NoSuchKey') ? new ObjectMissing(key) : error;
      });
    // In Node it is one; the SDK's type thinks of browsers too.
    const body = answer.Body as unknown as Readable;
    body.on('error', () => {}); // it is told to whoever reads it; without a reader it would end the process
    return { body, bytes: Number(answer.ContentLength), etag: answer.ETag };
  }

  private async *content(
    key: string,
    { bytes, etag }: Opened,
    reading: { current: Readable },
    signal: AbortSignal | undefined,
  ): AsyncGenerator<Buffer> {
    let at = 0;
    let broken = 0;
    while (at < bytes) {
      let trouble: unknown = 'it ended too early';
      const chunks = reading.current[Symbol.asyncIterator]();
      for (;;) {
        const next = await this.within(chunks.next(), reading.current).catch((error) => {
          trouble = error;
          return undefined;
        });
        if (!next || next.done) break;
        at += next.value.length;
        broken = 0;
        yield next.value;
      }
      if (at >= bytes) break;
      reading.current.destroy();
      signal?.throwIfAborted();
      broken += 1;
      if (broken > fruitless)
        throw new ObjectStoreError(`${key} broke off after ${at} of ${bytes} bytes: ${trouble}`, true);
      reading.current = (await this.open(key, signal, { at, etag })).body;
    }
    if (at > bytes) throw new ObjectStoreError(`${key} has ${bytes} bytes, and ${at} came`, false);
  }

  /** A connection that stands still while we wait for it is broken; while its reader is busy it may take its time. */
  private async within<T>(chunk: Promise<T>, body: Readable): Promise<T> {
    const silent = () => body.destroy(new Error('the connection stands still'));
    const timer = setTimeout(silent, this.settings.deadlineMs / 2);
    try {
      return await chunk;
    } finally {
      clearTimeout(timer);
    }
  }

  /** Of each of them all, and the marks of earlier removals. */
  private async versionsOf(keys: readonly string[]): Promise<Version[]> {
    const found: Version[] = [];
    for (const some of slices(keys, askedAtOnce))
      found.push(...(await Promise.all(some.map((key) => this.versionsOfOne(key)))).flat());
    return found;
  }

  private async versionsOfOne(key: string): Promise<Version[]> {
    const { Bucket } = this;
    const found: Version[] = [];
    let from: { KeyMarker: string | undefined; VersionIdMarker: string | undefined } | undefined;
    for (;;) {
      const command = new ListObjectVersionsCommand({ Bucket, Prefix: key, ...from });
      const page = await this.requests.send(command, { to: `remove ${key}` });
      const { Versions = [], DeleteMarkers = [] } = page;
      const here = (all: readonly { Key?: string; VersionId?: string }[], hides: boolean) =>
        all.filter(({ Key }) => Key === key).map(({ VersionId }) => ({ Key: key, VersionId, hides }));
      found.push(...here(Versions, false), ...here(DeleteMarkers, true));
      // Its own name is the first of those that begin with it.
      if (!page.IsTruncated || page.NextKeyMarker !== key) return found;
      from = { KeyMarker: page.NextKeyMarker, VersionIdMarker: page.NextVersionIdMarker };
    }
  }

  /** @returns those that the store holds. */
  private async removeBatch(
    Objects: ObjectIdentifier[],
    to: string,
    fence: Fence | undefined,
  ): Promise<ObjectLocked[]> {
    const { Bucket } = this;
    const command = new DeleteObjectsCommand({ Bucket, Delete: { Objects, Quiet: true } });
    const { Errors = [] } = await this.requests.send(command, { to, fence });
    const locked: ObjectLocked[] = [];
    for (const some of slices(Errors, askedAtOnce))
      for (const one of await Promise.all(some.map((error) => this.whyNotRemoved(error)))) if (one) locked.push(one);
    return locked;
  }

  /** Throws what is not that the store holds it. @returns undefined: it is gone all the same. */
  private async whyNotRemoved({ Key = '', VersionId, Code = '', Message }: S3Error): Promise<ObjectLocked | undefined> {
    const { Bucket } = this;
    if (Code === 'NoSuchKey' || Code === 'NoSuchVersion') return undefined;
    const held = refusesLocked.includes(Code) && (await this.heldUntil({ Bucket, Key, VersionId }));
    if (held) return new ObjectLocked(Key, held instanceof Date ? held : undefined);
    const again = ['InternalError', 'SlowDown', 'ServiceUnavailable'].includes(Code);
    const next = again ? '' : `; see that the keys may remove versions in the bucket ${Bucket}`;
    throw new ObjectStoreError(`cannot remove ${Key}: ${Code} ${Message}${next}`, again);
  }

  /** Until when the store holds a version, from now on; false: it does not. */
  private async heldUntil(target: {
    readonly Bucket: string;
    readonly Key: string;
    readonly VersionId?: string | undefined;
  }): Promise<Date | 'legal hold' | false> {
    const how = {
      to: `see what holds ${target.Key}`,
      expected: ['NoSuchObjectLockConfiguration', 'NoSuchKey', 'NoSuchVersion', 'InvalidRequest', 'MethodNotAllowed'],
    };
    const asked = async <T>(answer: Promise<T>): Promise<T | undefined> =>
      answer.catch((error) => {
        if (!isNamed(error, ...how.expected)) throw error;
        return undefined;
      });
    const hold = await asked(this.requests.send(new GetObjectLegalHoldCommand(target), how));
    if (hold?.LegalHold?.Status === 'ON') return 'legal hold';
    const retention = await asked(this.requests.send(new GetObjectRetentionCommand(target), how));
    const until = retention?.Retention?.RetainUntilDate;
    return until && until.getTime() > Date.now() - clocksDifferMs ? until : false;
  }
}

function isNamed(error: unknown, ...names: readonly string[]): error is Error {
  return error instanceof Error && names.includes(error.name);
}

function* slices<T>(list: readonly T[], length: number): Generator<T[]> {
  for (let at = 0; at < list.length; at += length) yield list.slice(at, at + length);
}
