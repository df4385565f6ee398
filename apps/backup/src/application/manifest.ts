import { z } from 'zod';
import type { Backup } from '../domain/backup.js';

const sha256 = z.string().regex(/^[0-9a-f]{64}$/);
const bytes = z.int().nonnegative();

/**
 * What a backup is, in words that can be read without the mesh's database: the last of its objects, without which it does
 * not exist. A reader of version 1 reads every later 1: fields are only added.
 */
export const Manifest = z.object({
  version: z.literal(1),
  backupId: z.uuid(),
  instanceId: z.uuid(),
  customerId: z.string(),
  footprintId: z.uuid(),
  why: z.string(),
  takenAt: z.iso.datetime(),
  template: z.object({
    image: z.string(),
    version: z.string(),
    bundle: z.string(),
    language: z.string(),
    database: z.string(),
  }),
  odooVersion: z.string().nullable(),
  modules: z.record(z.string(), z.string()),
  database: z.object({
    name: z.string(),
    key: z.string(),
    bytes,
    sha256,
    rows: z.int().nonnegative(),
    serverVersion: z.string(),
    /** Rows and a checksum for each table. */
    fingerprint: z.object({ key: z.string(), sha256 }),
  }),
  /** Null: it was taken on a simulated node, where there are no files. */
  files: z
    .object({
      /** The index: a gzipped line of JSON for each file, `{name, bytes}`, where the name's last part is its SHA-1. */
      index: z.string(),
      /** Its contents are at this prefix and their name. */
      prefix: z.string(),
      files: z.int().nonnegative(),
      bytes,
    })
    .nullable(),
  traceparent: z.string().nullable(),
});
export type Manifest = z.output<typeof Manifest>;

/** Of one whose database and files are there. */
export function manifestOf(backup: Backup, filesPrefix: string): Manifest {
  const { backupId, instanceId, customerId, footprintId, why, source, dumped, saved, traceparent } = backup;
  const { key, bytes, sha256, rows, takenAt, serverVersion, odooVersion, modules, fingerprint } = dumped!;
  const { index, files, bytes: filesBytes } = saved!;
  return {
    ...{ version: 1, backupId, instanceId, customerId, footprintId, why, takenAt, template: source.template },
    ...{ odooVersion, modules, traceparent },
    database: { name: source.database, key, bytes, sha256, rows, serverVersion, fingerprint },
    files: index === null ? null : { index, prefix: filesPrefix, files, bytes: filesBytes },
  };
}
