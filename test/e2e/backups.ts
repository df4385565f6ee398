import { createHash } from 'node:crypto';
import {
  DeleteObjectCommand,
  GetObjectCommand,
  ListMultipartUploadsCommand,
  ListObjectsV2Command,
  ListObjectVersionsCommand,
  PutObjectCommand,
  S3Client,
} from '@aws-sdk/client-s3';
import { newId } from '#contracts/index.js';
import { waitFor } from '#testing/wait-for.js';
import type { TestMesh } from './test-mesh.js';

/** What a stranger asks of backups, what he hears of it, and what lies in the store. */
export class Backups {
  private readonly store: S3Client;
  private readonly bucket: string;

  constructor(
    private readonly mesh: TestMesh,
    private readonly patienceMs = 90_000,
  ) {
    const { endpoint, region, bucket, accessKey, secretKey } = mesh.installed.backupStorage;
    this.bucket = bucket;
    this.store = new S3Client({
      ...{ endpoint, region, forcePathStyle: true },
      credentials: { accessKeyId: accessKey, secretAccessKey: secretKey },
    });
  }

  /** @returns the backup's id. */
  async ask(instanceId: string, why = 'manual', more: Record<string, unknown> = {}): Promise<string> {
    const backupId = newId();
    await this.say('backup.requested.v1', { instanceId, backupId, why, ...more });
    return backupId;
  }

  /** @returns the restore's id. */
  async restore(instanceId: string, backupId: string, mode: string, more: Record<string, unknown> = {}) {
    const restoreId = newId();
    await this.say('restore.requested.v1', {
      restoreId,
      instanceId,
      backupId,
      mode,
      reason: 'a test wants it',
      ...more,
    });
    return restoreId;
  }

  async say(key: string, data: Record<string, unknown>, id = newId()): Promise<void> {
    const message = {
      specversion: '1.0',
      id,
      source: 'signup',
      type: `mesh.${key}`,
      time: new Date().toISOString(),
      data,
    };
    await this.mesh.publish(message, { key });
  }

  /** What was said about it under one of these keys, without version. */
  async heard(id: string, ...facts: string[]) {
    return await this.mesh.explained(
      waitFor(`${facts.join(' or ')} of ${id}`, () => this.all(id, ...facts)[0], { timeoutMs: this.patienceMs }).catch(
        async (error) => {
          throw new Error(`${error.message}\n${await this.standing()}`);
        },
      ),
    );
  }

  /** What keeps those that are under way, for whoever waited in vain. */
  private async standing(): Promise<string> {
    const backups = await this.mesh.sql(
      `SELECT backup_id, state, condition, spent_ms, seen_at FROM backup.backup WHERE state NOT IN ('completed', 'expired')`,
    );
    const jobs = await this.mesh.sql(
      'SELECT kind, key, attempt, due_at, lease_holder, lease_until, last_error FROM backup.job',
    );
    const heard = await this.mesh.sql('SELECT count(*)::int AS instances FROM backup.instance');
    return [...backups, ...jobs, ...heard].map((row) => JSON.stringify(row)).join('\n');
  }

  all(id: string, ...facts: string[]) {
    const found = this.mesh.heard.filter(
      ({ key, envelope: { data } }) =>
        facts.includes(key.replace(/\.v\d+$/, '')) &&
        (data.restoreId === id || (!data.restoreId && data.backupId === id)),
    );
    // A service that dies between sending and noting it sends the same message again.
    const once = new Map(found.map((one) => [one.envelope.id, one]));
    return [...once.values()].map(({ key, envelope }) => ({ ...envelope.data, fact: key.replace(/\.v\d+$/, '') }));
  }

  /** Made, proved and tidied up after. */
  async completed(instanceId: string, why = 'manual', more: Record<string, unknown> = {}): Promise<string> {
    const backupId = await this.ask(instanceId, why, more);
    await this.proved(backupId);
    return backupId;
  }

  async proved(backupId: string) {
    const verified = await this.heard(backupId, 'backup.verified', 'backup.failed');
    await this.settled(backupId);
    return verified;
  }

  /** Nothing is to be done for it any more. */
  async settled(backupId: string): Promise<void> {
    await this.mesh.explained(
      waitFor(
        `the jobs of backup ${backupId} to end`,
        async () => {
          const left = await this.mesh.sql('SELECT 1 FROM backup.job WHERE key = $1', [backupId]);
          return left.length === 0;
        },
        { timeoutMs: this.patienceMs },
      ),
    );
  }

  async row(backupId: string) {
    const [row] = await this.mesh.sql<{ state: string; condition: { reason: string } | null }>(
      'SELECT state, condition FROM backup.backup WHERE backup_id = $1',
      [backupId],
    );
    return row;
  }

  async inState(backupId: string, ...states: string[]): Promise<void> {
    await this.mesh.explained(
      waitFor(
        `backup ${backupId} to be ${states.join(' or ')}`,
        async () => states.includes((await this.row(backupId))?.state ?? ''),
        { timeoutMs: this.patienceMs, intervalMs: 10 },
      ),
    );
  }

  prefixOf({ customerId, instanceId }: { customerId: string; instanceId: string }, backupId = ''): string {
    const instance = `${this.mesh.name}/${customerId}/${instanceId}/`;
    return backupId ? `${instance}backups/${backupId}/` : instance;
  }

  /** Their names below the prefix, sorted. */
  async objects(prefix: string): Promise<string[]> {
    const { Contents = [] } = await this.store.send(new ListObjectsV2Command({ Bucket: this.bucket, Prefix: prefix }));
    return Contents.map(({ Key }) => Key!.slice(prefix.length)).sort();
  }

  /** All that ever was below the prefix and is not removed for good, with what tells one writing from another. */
  async versions(prefix: string) {
    const listed = await this.store.send(new ListObjectVersionsCommand({ Bucket: this.bucket, Prefix: prefix }));
    const all = [...(listed.Versions ?? []), ...(listed.DeleteMarkers ?? [])];
    return all.map(({ Key, VersionId, LastModified }) => ({ Key, VersionId, LastModified }));
  }

  async unfinished(): Promise<number> {
    const { Uploads = [] } = await this.store.send(new ListMultipartUploadsCommand({ Bucket: this.bucket }));
    return Uploads.length;
  }

  async read(key: string): Promise<Buffer> {
    const { Body } = await this.store.send(new GetObjectCommand({ Bucket: this.bucket, Key: key }));
    return Buffer.from(await Body!.transformToByteArray());
  }

  async manifest(instance: { customerId: string; instanceId: string }, backupId: string) {
    return JSON.parse((await this.read(`${this.prefixOf(instance, backupId)}manifest.json`)).toString());
  }

  async sha256(key: string): Promise<string> {
    return createHash('sha256')
      .update(await this.read(key))
      .digest('hex');
  }

  /** As a disk does it. */
  async flipOneByte(key: string): Promise<void> {
    const content = await this.read(key);
    const at = Math.floor(content.length / 2);
    content[at] = content[at]! ^ 0x01;
    await this.store.send(new PutObjectCommand({ Bucket: this.bucket, Key: key, Body: content }));
  }

  /** For ever, not only as its last version. */
  async destroy(key: string): Promise<void> {
    const { Versions = [] } = await this.store.send(
      new ListObjectVersionsCommand({ Bucket: this.bucket, Prefix: key }),
    );
    for (const { VersionId } of Versions)
      await this.store.send(new DeleteObjectCommand({ Bucket: this.bucket, Key: key, VersionId }));
  }

  close(): void {
    this.store.destroy();
  }
}
