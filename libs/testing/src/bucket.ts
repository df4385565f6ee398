import { randomBytes } from 'node:crypto';
import { type BucketAccess, installBucket, uninstallBucket } from '#object-storage/index.js';
import { stackAddresses } from './config.js';

export interface TestBucket extends BucketAccess {
  /** With all that is in it. Safe to repeat. */
  drop(): Promise<void>;
}

/** A bucket of its own on the stack's server, with versions and object lock, and a user that reaches nothing else. */
export async function createTestBucket(prefix: string): Promise<TestBucket> {
  const { s3 } = stackAddresses();
  const name = `${prefix}-${randomBytes(4).toString('hex')}`;
  const access = await installBucket(s3, name, { accessKey: name, secretKey: randomBytes(12).toString('hex') });
  return { ...access, drop: () => uninstallBucket(s3, name, name) };
}
