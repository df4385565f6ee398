import { randomBytes } from 'node:crypto';
import {
  CreateBucketCommand,
  DeleteObjectCommand,
  GetObjectCommand,
  ListObjectsV2Command,
  ListObjectVersionsCommand,
  PutObjectCommand,
  S3Client,
} from '@aws-sdk/client-s3';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { createTestBucket, type TestBucket } from '#testing/bucket.js';
import { stackAddresses } from '#testing/config.js';
import { type BucketAccess, installBucket, installGuest, uninstallBucket } from './index.js';

const clients: S3Client[] = [];
function clientOf({ endpoint, region, accessKey, secretKey }: BucketAccess): S3Client {
  const client = new S3Client({
    endpoint,
    region,
    forcePathStyle: true,
    credentials: { accessKeyId: accessKey, secretAccessKey: secretKey },
  });
  clients.push(client);
  return client;
}
const put = (client: S3Client, bucket: string, more = {}) =>
  client.send(new PutObjectCommand({ Bucket: bucket, Key: 'a/b', Body: 'mine', ...more }));

let mine: TestBucket;
let other: TestBucket;
beforeAll(async () => {
  [mine, other] = await Promise.all([createTestBucket('mine'), createTestBucket('other')]);
});
afterAll(async () => {
  for (const client of clients) client.destroy();
  await mine?.drop();
  await other?.drop();
});

describe('the user of a bucket', () => {
  test('writes and reads there', async () => {
    const client = clientOf(mine);
    await put(client, mine.bucket);
    const { Body } = await client.send(new GetObjectCommand({ Bucket: mine.bucket, Key: 'a/b' }));
    expect(await Body?.transformToString()).toBe('mine');
  });

  test('is refused in the bucket of another, and makes none', async () => {
    await put(clientOf(other), other.bucket);
    const client = clientOf(mine);
    await expect(put(client, other.bucket)).rejects.toThrow('Access Denied');
    const get = client.send(new GetObjectCommand({ Bucket: other.bucket, Key: 'a/b' }));
    await expect(get).rejects.toThrow('Access Denied');
    await expect(client.send(new ListObjectsV2Command({ Bucket: other.bucket }))).rejects.toThrow('Access Denied');
    await expect(client.send(new CreateBucketCommand({ Bucket: `${mine.bucket}-2` }))).rejects.toThrow('Access Denied');
  });

  test('has a new secret when the bucket is installed again, and finds what is in it', async () => {
    const { s3 } = stackAddresses();
    await put(clientOf(mine), mine.bucket);
    const again = await installBucket(s3, mine.bucket, { accessKey: mine.accessKey, secretKey: 'another-one' });
    await expect(put(clientOf(mine), mine.bucket)).rejects.toThrow('signature');
    const { Body } = await clientOf(again).send(new GetObjectCommand({ Bucket: mine.bucket, Key: 'a/b' }));
    expect(await Body?.transformToString()).toBe('mine');
  });
});

describe('a guest in the bucket of another', () => {
  const key = (Key: string) => ({ Bucket: hers.bucket, Key });
  let hers: TestBucket;
  let owner: S3Client;
  let guest: S3Client;
  beforeAll(async () => {
    hers = await createTestBucket('hers');
    const user = { accessKey: `${hers.bucket}-guest`, secretKey: 'for-this-test' };
    const grants = [{ actions: ['s3:GetObject', 's3:PutObject'], keys: ['*/files/*'] }, { actions: ['s3:ListBucket'] }];
    [owner, guest] = [clientOf(hers), clientOf((await installGuest(stackAddresses().s3, hers, user, grants))!)];
    for (const Key of ['m/files/a', 'm/dump']) await owner.send(new PutObjectCommand({ ...key(Key), Body: Key }));
  });

  afterAll(() => hers && uninstallBucket(stackAddresses().s3, hers.bucket, hers.bucket, `${hers.bucket}-guest`));

  test('does what was granted', async () => {
    await guest.send(new PutObjectCommand({ ...key('m/files/b'), Body: 'new' }));
    const { Body } = await guest.send(new GetObjectCommand(key('m/files/a')));
    expect(await Body?.transformToString()).toBe('m/files/a');
    const { Contents } = await guest.send(new ListObjectsV2Command({ Bucket: hers.bucket, Prefix: 'm/files/' }));
    expect(Contents?.map(({ Key }) => Key)).toEqual(['m/files/a', 'm/files/b']);
  });

  test('neither reads nor writes elsewhere, and removes nothing', async () => {
    const [version] = (await owner.send(new ListObjectVersionsCommand({ Bucket: hers.bucket, Prefix: 'm/files/a' })))
      .Versions!;
    const refused = [
      guest.send(new GetObjectCommand(key('m/dump'))),
      guest.send(new PutObjectCommand({ ...key('m/dump'), Body: 'other' })),
      guest.send(new DeleteObjectCommand(key('m/files/a'))),
      guest.send(new DeleteObjectCommand({ ...key('m/files/a'), VersionId: version!.VersionId })),
    ];
    for (const one of await Promise.allSettled(refused))
      expect(one).toMatchObject({ status: 'rejected', reason: { name: 'AccessDenied' } });
    expect((await owner.send(new GetObjectCommand(key('m/files/a')))).VersionId).toBe(version!.VersionId);
  });
});

test('a bucket goes with its versions, its held objects and its user, and going twice is fine', async () => {
  const { s3 } = stackAddresses();
  const name = `gone-${randomBytes(4).toString('hex')}`;
  const access = await installBucket(s3, name, { accessKey: name, secretKey: 'for-this-test' });
  const client = clientOf(access);
  const ObjectLockRetainUntilDate = new Date(Date.now() + 3_600_000);
  await put(client, name, { ObjectLockMode: 'GOVERNANCE', ObjectLockRetainUntilDate });
  await put(client, name);
  await uninstallBucket(s3, name, name);
  await uninstallBucket(s3, name, name);
  await expect(put(client, name)).rejects.toThrow('does not exist');
});
