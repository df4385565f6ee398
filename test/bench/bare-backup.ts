import { spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import type { Readable, Writable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import {
  CompleteMultipartUploadCommand,
  CreateMultipartUploadCommand,
  GetObjectCommand,
  ListObjectsV2Command,
  PutObjectCommand,
  S3Client,
  UploadPartCommand,
} from '@aws-sdk/client-s3';
import { Pool } from 'pg';

const partBytes = 8 * 1024 * 1024;

/** Where a script finds what it needs: the same store, programs and roles as the service's. */
export interface BareBackupTarget {
  readonly storage: {
    readonly endpoint: string;
    readonly region: string;
    readonly bucket: string;
    readonly accessKey: string;
    readonly secretKey: string;
  };
  readonly pgDump: string;
  readonly pgRestore: string;
  /** The role that reads every tenant, on database `postgres`. */
  readonly readerUrl: string;
  /** The mesh's role, which may make databases. */
  readonly shardUrl: string;
}

/**
 * The reference of the bench backup: pg_dump into an object, and an object into pg_restore, on a good day. It imports
 * nothing of ours. It holds no snapshot, counts and compares no rows, looks at no volume, writes no manifest, has no
 * lease, keeps nothing, tells nobody, and tries nothing twice.
 */
export class BareBackup {
  private readonly store: S3Client;
  private readonly databases: Pool;

  constructor(private readonly target: BareBackupTarget) {
    const { endpoint, region, accessKey, secretKey } = target.storage;
    this.store = new S3Client({
      ...{ endpoint, region, forcePathStyle: true },
      credentials: { accessKeyId: accessKey, secretAccessKey: secretKey },
    });
    this.databases = new Pool({ connectionString: target.shardUrl, max: 4 });
  }

  /** `pg_dump -Fc -Z1 | put`. */
  async backUp(database: string, key: string): Promise<void> {
    const { pgDump, readerUrl } = this.target;
    const program = this.run(pgDump, ['-Fc', '-Z1', '--no-password'], readerUrl, database);
    await Promise.all([this.put(key, program.stdout), program.ended]);
  }

  /** Its bytes are read and summed, and pg_restore lists what it holds. */
  async look(key: string): Promise<void> {
    const hash = createHash('sha256');
    const chunks: Buffer[] = [];
    for await (const chunk of await this.get(key)) {
      hash.update(chunk);
      chunks.push(chunk);
    }
    hash.digest();
    const { pgRestore, readerUrl } = this.target;
    const program = this.run(pgRestore, ['--list'], readerUrl, 'postgres');
    program.stdout.resume();
    program.stdin.on('error', () => {}); // it reads no further than it has to
    program.stdin.end(Buffer.concat(chunks));
    await program.ended;
  }

  /** `get | pg_restore`, into a new database, which is gone after it. @returns how long pg_restore took, in seconds. */
  async restore(key: string, database: string): Promise<number> {
    const { pgRestore, shardUrl } = this.target;
    await this.databases.query(`CREATE DATABASE "${database}" TEMPLATE template0`);
    try {
      const begun = performance.now();
      const args = ['--no-owner', '--no-privileges', '--exit-on-error', '--no-password', `--dbname=${database}`];
      const program = this.run(pgRestore, args, shardUrl, database);
      program.stdout.resume();
      await Promise.all([pipeline(await this.get(key), program.stdin), program.ended]);
      return (performance.now() - begun) / 1_000;
    } finally {
      await this.databases.query(`DROP DATABASE "${database}" WITH (FORCE)`);
    }
  }

  /** The first below the prefix whose name looks so. */
  async find(prefix: string, name: RegExp): Promise<string> {
    const command = new ListObjectsV2Command({ Bucket: this.target.storage.bucket, Prefix: prefix });
    const { Contents = [] } = await this.store.send(command);
    const found = Contents.map(({ Key }) => Key!).find((key) => name.test(key));
    if (!found) throw new Error(`there is no ${name} below ${prefix}`);
    return found;
  }

  async close(): Promise<void> {
    this.store.destroy();
    await this.databases.end();
  }

  private async get(key: string): Promise<Readable> {
    const command = new GetObjectCommand({ Bucket: this.target.storage.bucket, Key: key });
    return (await this.store.send(command)).Body as Readable;
  }

  /** At once when it is short, else in parts, one after the other. */
  private async put(Key: string, content: Readable): Promise<void> {
    const target = { Bucket: this.target.storage.bucket, Key };
    let chunks: Buffer[] = [];
    let size = 0;
    let UploadId: string | undefined;
    const parts: { PartNumber: number; ETag: string | undefined }[] = [];
    const send = async () => {
      const Body = Buffer.concat(chunks);
      [chunks, size] = [[], 0];
      UploadId ??= (await this.store.send(new CreateMultipartUploadCommand(target))).UploadId;
      const PartNumber = parts.length + 1;
      const { ETag } = await this.store.send(new UploadPartCommand({ ...target, UploadId, PartNumber, Body }));
      parts.push({ PartNumber, ETag });
    };
    for await (const chunk of content) {
      chunks.push(chunk);
      size += chunk.length;
      if (size >= partBytes) await send();
    }
    if (!UploadId)
      return void (await this.store.send(new PutObjectCommand({ ...target, Body: Buffer.concat(chunks) })));
    await send();
    const MultipartUpload = { Parts: parts };
    await this.store.send(new CompleteMultipartUploadCommand({ ...target, UploadId, MultipartUpload }));
  }

  private run(
    program: string,
    args: readonly string[],
    url: string,
    database: string,
  ): { readonly stdin: Writable; readonly stdout: Readable; readonly ended: Promise<void> } {
    const { hostname, port, username, password } = new URL(url);
    const env = { PGHOST: hostname, PGPORT: port, PGUSER: username, PGPASSWORD: password, PGDATABASE: database };
    const child = spawn(program, args, { env, stdio: ['pipe', 'pipe', 'pipe'] });
    let words = '';
    child.stderr.on('data', (text) => {
      words += text;
    });
    const ended = once(child, 'close').then(([code]) => {
      if (code !== 0) throw new Error(`${program} ended with ${code}: ${words}`);
    });
    return { stdin: child.stdin, stdout: child.stdout, ended };
  }
}
