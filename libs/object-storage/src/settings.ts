import { z } from 'zod';
import { duration } from '#persistence/settings.js';
import type { BucketAccess } from './bucket.js';

/** What a store is asked to do with what is put into it. */
export interface StorageSettings extends BucketAccess {
  readonly encryption: 'AES256' | 'aws:kms' | 'none';
  readonly objectLock: 'none' | 'governance' | 'compliance';
  readonly deadlineMs: number;
}

/** What a program that keeps objects outside of the cluster reads from its environment, for its `config.ts`. */
export const objectStorageSettings = {
  /** `https://host:port`; buckets are asked for by path. A private authority: NODE_EXTRA_CA_CERTS. */
  MESH_S3_ENDPOINT: z.url({ protocol: /^https?$/ }),
  MESH_S3_REGION: z.string().min(1),
  /** It has to be there. */
  MESH_S3_BUCKET: z.string().min(3),
  MESH_S3_ACCESS_KEY: z.string().min(1),
  MESH_S3_SECRET_KEY: z.string().min(1),
  /** What the store is asked to encrypt with; `none` asks for nothing. */
  MESH_S3_ENCRYPTION: z.enum(['AES256', 'aws:kms', 'none']).default('AES256'),
  /** What holds an object until its time: `governance` gives way to who may bypass it, `compliance` to nobody. */
  MESH_S3_OBJECT_LOCK: z.enum(['none', 'governance', 'compliance']).default('none'),
  /** How long a request may take, its repetitions included, before the store counts as away. */
  MESH_S3_DEADLINE: duration.default(120_000).pipe(z.number().min(1_000).max(3_600_000)),
};

/** The same, as an object store is made of it. */
export function storageOf(config: z.output<z.ZodObject<typeof objectStorageSettings>>): StorageSettings {
  return {
    endpoint: config.MESH_S3_ENDPOINT,
    region: config.MESH_S3_REGION,
    bucket: config.MESH_S3_BUCKET,
    accessKey: config.MESH_S3_ACCESS_KEY,
    secretKey: config.MESH_S3_SECRET_KEY,
    encryption: config.MESH_S3_ENCRYPTION,
    objectLock: config.MESH_S3_OBJECT_LOCK,
    deadlineMs: config.MESH_S3_DEADLINE,
  };
}
