import { z } from 'zod';
import { entrySettings, shardUrls } from '#footprints/settings.js';
import { brokerSettings } from '#messaging/index.js';
import { objectStorageSettings } from '#object-storage/index.js';
import { serviceSettings } from '#observability/index.js';
import { databaseSettings, duration, jobSettings } from '#persistence/index.js';

const hour = 3_600_000;
const upTo = (mostMs: number) => z.number().min(1_000).max(mostMs);

const Environment = z
  .object({
    ...serviceSettings(3005),
    ...brokerSettings,
    ...databaseSettings,
    ...jobSettings,
    MESH_KUBECONFIG: z.string(),
    /** The mesh's role on each shard: databases that are filled. */
    MESH_SHARD_URLS: shardUrls,
    /** The role that reads all tenants, and nothing more, on each shard: databases that are dumped. */
    MESH_SHARD_READER_URLS: shardUrls,
    MESH_STORAGE_CLASS: z.string().min(1),
    /** Of the class that makes snapshots of MESH_STORAGE_CLASS. */
    MESH_SNAPSHOT_CLASS: z.string().min(1).default('mesh-snapshots'),
    /**
     * How a snapshot is mounted: `ReadOnlyMany` is what CephFS gives in constant time; `ReadWriteOnce`, a copy, is what every
     * driver can.
     */
    MESH_SNAPSHOT_ACCESS: z.enum(['ReadOnlyMany', 'ReadWriteOnce']).default('ReadOnlyMany'),
    /** Of the same meaning as lifecycle's: without it nodes are simulated, and Jobs run nothing. */
    MESH_ROUTER_URL: entrySettings.MESH_ROUTER_URL,
    /** Where pg_dump and pg_restore are; without it they are looked for in PATH. */
    MESH_POSTGRES_PROGRAMS: z.string().min(1).optional(),
    ...objectStorageSettings,
    /** What Jobs in cells have: it has to reach files and their indexes alone. Absent: the one above, which reaches everything. */
    MESH_S3_FILES_ACCESS_KEY: z.string().min(1).optional(),
    MESH_S3_FILES_SECRET_KEY: z.string().min(1).optional(),
    /** The image of the Jobs that read and write files in cells. */
    MESH_FILES_IMAGE: z.string().min(1),
    /** `off`: none is begun by itself, for as long as an operator wants it so. What is late is told all the same. */
    MESH_BACKUP_SCHEDULES: z.enum(['on', 'off']).default('on'),
    /** Backups under way, with their files. */
    MESH_BACKUPS_PER_CELL: z.coerce.number().int().min(1).max(1_000).default(8),
    /** Dumps at once. */
    MESH_BACKUPS_PER_SHARD: z.coerce.number().int().min(1).max(1_000).default(4),
    /** Full proofs at once, of backups of a shard. Restores that somebody asks for are not counted, and wait for none. */
    MESH_PROOFS_PER_SHARD: z.coerce.number().int().min(1).max(1_000).default(2),
    /** A backup that was looked at for so long, and is not completed, has failed. Time in which nobody could look is not counted. */
    MESH_BACKUP_DEADLINE: duration.default(6 * hour).pipe(upTo(7 * 24 * hour)),
    /** The same for each step of a restore or a proof. */
    MESH_RESTORE_DEADLINE: duration.default(2 * hour).pipe(upTo(7 * 24 * hour)),
    /** How long an instance may stand still for a restore before it runs again as it was. */
    MESH_RESTORE_STANDSTILL: duration.default(2 * hour).pipe(upTo(24 * hour)),
  })
  .refine((one) => (one.MESH_S3_FILES_ACCESS_KEY === undefined) === (one.MESH_S3_FILES_SECRET_KEY === undefined), {
    path: ['MESH_S3_FILES_SECRET_KEY'],
    error: 'a key is of two halves: give MESH_S3_FILES_ACCESS_KEY too, or none of them',
  });

/** The only place that reads the environment. Throws one error that names every fault. */
export function readConfig(environment: NodeJS.ProcessEnv = process.env) {
  const parsed = Environment.safeParse(environment);
  if (!parsed.success) throw new Error(`backup's environment cannot be used:\n${z.prettifyError(parsed.error)}`);
  return Object.freeze(parsed.data);
}

export type Config = ReturnType<typeof readConfig>;
