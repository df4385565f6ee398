import {
  AbortMultipartUploadCommand,
  CreateBucketCommand,
  DeleteBucketCommand,
  DeleteObjectsCommand,
  ListMultipartUploadsCommand,
  ListObjectVersionsCommand,
  PutBucketPolicyCommand,
  S3Client,
} from '@aws-sdk/client-s3';

/** A server that speaks S3, and who may make buckets on it. */
export interface ObjectStorage {
  readonly endpoint: string;
  readonly region: string;
  readonly accessKey: string;
  readonly secretKey: string;
}

/** A bucket, and keys that reach it. */
export interface BucketAccess extends ObjectStorage {
  readonly bucket: string;
}

/**
 * A bucket with versions and object lock (no object is locked unless it says so), and a user that reaches this bucket and
 * no other. Users are made where the server is versitygw; another store's administrator makes them in that store's own
 * way, so there the keys that are returned are those that were given. Idempotent: run it again to mend or to change the
 * secret.
 */
export async function installBucket(
  storage: ObjectStorage,
  bucket: string,
  user: { readonly accessKey: string; readonly secretKey: string },
): Promise<BucketAccess> {
  const client = clientOf(storage);
  try {
    if (!(await makesUsers(client, storage))) {
      await createBucket(client, storage, bucket);
      return { ...storage, bucket };
    }
    await makeUser(client, storage, user);
    const headers = { 'x-vgw-owner': user.accessKey, 'x-amz-bucket-object-lock-enabled': 'true' };
    const made = await administer(client, storage, `/${bucket}/create`, {}, { headers, allowed: [409] });
    if (made.status === 409 && !made.text.includes('BucketAlreadyOwnedByYou'))
      throw new Error(`the bucket ${bucket} belongs to another user: choose another name`);
    return { ...storage, ...user, bucket };
  } finally {
    client.destroy();
  }
}

/** What somebody may do in a bucket that is another's: by S3's own names for it, and below names that may have a `*`. */
export interface Grant {
  readonly actions: readonly string[];
  /** Names of objects; absent: it is about the bucket itself, its list for instance. */
  readonly keys?: readonly string[];
}

/**
 * A user that may do so much in the bucket and nothing else anywhere; what the bucket granted to others before is replaced.
 * As with `installBucket`, another store's administrator does this in that store's own way: then nothing is returned.
 */
export async function installGuest(
  storage: ObjectStorage,
  { bucket, accessKey: owner }: Pick<BucketAccess, 'bucket' | 'accessKey'>,
  guest: { readonly accessKey: string; readonly secretKey: string },
  grants: readonly Grant[],
): Promise<BucketAccess | undefined> {
  const client = clientOf(storage);
  try {
    if (!(await makesUsers(client, storage))) return undefined;
    await makeUser(client, storage, guest);
    await client.send(
      new PutBucketPolicyCommand({ Bucket: bucket, Policy: policyOf(bucket, owner, guest.accessKey, grants) }),
    );
    return { ...storage, ...guest, bucket };
  } finally {
    client.destroy();
  }
}

/** Where a bucket has a policy, versitygw asks nothing else: its owner is named too, and may no more than before. */
function policyOf(bucket: string, owner: string, guest: string, grants: readonly Grant[]): string {
  const itself = `arn:aws:s3:::${bucket}`;
  const statement = (
    Effect: 'Allow' | 'Deny',
    user: string,
    Action: readonly string[],
    Resource: readonly string[],
  ) => ({
    ...{ Effect, Principal: { AWS: user }, Action, Resource },
  });
  return JSON.stringify({
    Version: '2012-10-17',
    Statement: [
      statement('Allow', owner, ['s3:*'], [itself, `${itself}/*`]),
      statement('Deny', owner, ['s3:BypassGovernanceRetention'], [`${itself}/*`]),
      ...grants.map(({ actions, keys }) =>
        statement('Allow', guest, actions, keys?.map((key) => `${itself}/${key}`) ?? [itself]),
      ),
    ],
  });
}

/**
 * Removes the bucket with all versions in it, those that are held by `governance` too, and its users. Asking twice is fine.
 * Throws while an object is held by `compliance`.
 */
export async function uninstallBucket(
  storage: ObjectStorage,
  bucket: string,
  ...accessKeys: readonly string[]
): Promise<void> {
  const client = clientOf(storage);
  try {
    await empty(client, bucket)
      .then(() => client.send(new DeleteBucketCommand({ Bucket: bucket })))
      .catch((error) => {
        if (error.name !== 'NoSuchBucket') throw error;
      });
    if (await makesUsers(client, storage))
      for (const access of accessKeys) await administer(client, storage, '/delete-user', { access });
  } finally {
    client.destroy();
  }
}

async function makeUser(
  client: S3Client,
  storage: ObjectStorage,
  { accessKey, secretKey }: { readonly accessKey: string; readonly secretKey: string },
): Promise<void> {
  const account = xml('Account', { Access: accessKey, Secret: secretKey, Role: 'user' });
  const { status } = await administer(client, storage, '/create-user', {}, { body: account, allowed: [409] });
  if (status !== 409) return;
  const changed = xml('MutableProps', { Secret: secretKey });
  await administer(client, storage, '/update-user', { access: accessKey }, { body: changed });
}

async function createBucket(client: S3Client, { region }: ObjectStorage, bucket: string): Promise<void> {
  await client
    .send(
      new CreateBucketCommand({
        Bucket: bucket,
        ObjectLockEnabledForBucket: true,
        // The oldest region is the one that must not be named.
        ...(region !== 'us-east-1' && { CreateBucketConfiguration: { LocationConstraint: region as never } }),
      }),
    )
    .catch((error) => {
      if (error.name !== 'BucketAlreadyOwnedByYou') throw error;
    });
}

async function empty(client: S3Client, Bucket: string): Promise<void> {
  for (;;) {
    // Always from the beginning: what was there is gone.
    const { Versions = [], DeleteMarkers = [] } = await client.send(new ListObjectVersionsCommand({ Bucket }));
    const Objects = [...Versions, ...DeleteMarkers].map(({ Key, VersionId }) => ({ Key, VersionId }));
    if (Objects.length === 0) break;
    for (let at = 0; at < Objects.length; at += 1000) {
      const { Errors = [] } = await client.send(
        new DeleteObjectsCommand({
          Bucket,
          BypassGovernanceRetention: true,
          Delete: { Objects: Objects.slice(at, at + 1000), Quiet: true },
        }),
      );
      // A marker goes with the last version that it hides.
      const [refused] = Errors.filter(({ Code }) => Code !== 'NoSuchVersion');
      if (refused) throw new Error(`${Bucket}/${refused.Key} cannot be removed: ${refused.Code} ${refused.Message}`);
    }
  }
  const { Uploads = [] } = await client.send(new ListMultipartUploadsCommand({ Bucket }));
  for (const { Key, UploadId } of Uploads)
    await client.send(new AbortMultipartUploadCommand({ Bucket, Key, UploadId }));
}

function clientOf({ endpoint, region, accessKey, secretKey }: ObjectStorage): S3Client {
  return new S3Client({
    endpoint,
    region,
    forcePathStyle: true,
    credentials: { accessKeyId: accessKey, secretAccessKey: secretKey },
    requestHandler: { connectionTimeout: 5_000, requestTimeout: 30_000, throwOnRequestTimeout: true },
  });
}

/** Whether it is versitygw with users: others do not know the request, and refuse it. */
async function makesUsers(client: S3Client, storage: ObjectStorage): Promise<boolean> {
  const refused = [400, 403, 404, 405, 501];
  const { status, text } = await administer(client, storage, '/list-users', {}, { allowed: refused });
  return status === 200 && text.includes('ListUserAccountsResult');
}

/** versitygw's own requests, signed as those of S3 are. Throws on every answer that is neither good nor allowed. */
async function administer(
  client: S3Client,
  { endpoint }: ObjectStorage,
  path: string,
  query: Readonly<Record<string, string>>,
  {
    body = '',
    headers = {},
    allowed = [],
  }: {
    readonly body?: string;
    readonly headers?: Readonly<Record<string, string>>;
    readonly allowed?: readonly number[];
  } = {},
): Promise<{ readonly status: number; readonly text: string }> {
  const url = new URL(path, endpoint);
  url.search = new URLSearchParams(query).toString();
  const signer = await client.config.signer();
  const signed = await signer.sign({
    method: 'PATCH',
    protocol: url.protocol,
    hostname: url.hostname,
    ...(url.port && { port: Number(url.port) }),
    path,
    query: { ...query },
    headers: { host: url.host, ...headers },
    body,
  });
  const response = await fetch(url, {
    method: 'PATCH',
    headers: signed.headers,
    body,
    signal: AbortSignal.timeout(15_000),
  });
  const text = await response.text();
  if (response.ok || allowed.includes(response.status)) return { status: response.status, text };
  throw new Error(`the object storage at ${endpoint} refused PATCH ${path}: ${response.status} ${text}`);
}

function xml(name: string, fields: Readonly<Record<string, string>>): string {
  const safe = (text: string) => text.replace(/[<>&'"]/g, (character) => `&#${character.charCodeAt(0)};`);
  const inner = Object.entries(fields).map(([field, value]) => `<${field}>${safe(value)}</${field}>`);
  return `<${name}>${inner.join('')}</${name}>`;
}
