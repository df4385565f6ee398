import { z } from 'zod';
import { entrySettings, refuseContradictions, shardUrls } from '#footprints/settings.js';
import { brokerSettings } from '#messaging/index.js';
import { serviceSettings } from '#observability/index.js';
import { quantityOf } from '#odoo/index.js';
import { databaseSettings, duration, jobSettings } from '#persistence/index.js';

const upTo = (mostMs: number) => z.number().min(1_000).max(mostMs);
const hour = 3_600_000;

/** `name=size,…`, sizes as Kubernetes writes them: `500Gi`. */
const disks = z.string().transform((text, ctx) => {
  const sizes: Record<string, number> = {};
  for (const one of text.split(',').filter((part) => part !== '')) {
    const [, name, size] = /^([^=]+)=([0-9.]+(?:[kMGTP]i?)?)$/.exec(one) ?? [];
    try {
      if (name && !(name in sizes)) sizes[name] = quantityOf(size!);
      else ctx.addIssue(`${one} is not name=size, as in shard-1=500Gi, each name once`);
    } catch {
      ctx.addIssue(`${one} has a size that is none`);
    }
  }
  return sizes;
});

const Environment = z.object({
  ...serviceSettings(3004),
  ...brokerSettings,
  ...databaseSettings,
  ...jobSettings,
  MESH_KUBECONFIG: z.string(),
  MESH_SHARD_URLS: shardUrls,
  /**
   * What databases may take of the disks of shards: without what WAL and logs need. An upgrade for which there is no room
   * is not begun; of a shard that is not named nobody knows.
   */
  MESH_SHARD_DISKS: disks.default({}),
  MESH_STORAGE_CLASS: z.string().min(1),
  ...entrySettings,
  /** What does not answer this long after it was told to come up is taken back. Time in which nobody could look is not counted. */
  MESH_START_DEADLINE: duration.default(10 * 60_000).pipe(upTo(24 * hour)),
  /** The same for a pod that does not end. */
  MESH_STOP_DEADLINE: duration.default(5 * 60_000).pipe(upTo(24 * hour)),
  /** How long the backup before an upgrade may take. */
  MESH_BACKUP_DEADLINE: duration.default(6 * hour).pipe(upTo(7 * 24 * hour)),
  /** The same for Odoo's update of the copy. */
  MESH_UPDATE_DEADLINE: duration.default(2 * hour).pipe(upTo(7 * 24 * hour)),
  /** How long the database from before an upgrade is kept. */
  MESH_KEEP_OLD: duration.default(48 * hour).pipe(
    z
      .number()
      .min(0)
      .max(365 * 24 * hour),
  ),
  /** How long a host that an instance is called by no more leads to its new one, before it is given up. */
  MESH_FORMER_NAME_FOR: duration.default(7 * 24 * hour).pipe(
    z
      .number()
      .min(0)
      .max(365 * 24 * hour),
  ),
  /** How long after its termination an instance can be had back, where the request names no date. */
  MESH_TERMINATION_GRACE: duration.default(14 * 24 * hour).pipe(
    z
      .number()
      .min(0)
      .max(365 * 24 * hour),
  ),
  /** How long a request for an instance that nobody has heard of is kept. */
  MESH_UNKNOWN_FOR: duration.default(10 * 60_000).pipe(upTo(24 * hour)),
});

const Consistent = Environment.superRefine(refuseContradictions).refine(
  ({ MESH_SHARD_DISKS, MESH_SHARD_URLS }) =>
    Object.keys(MESH_SHARD_DISKS).every((name) => MESH_SHARD_URLS.some((shard) => shard.name === name)),
  { path: ['MESH_SHARD_DISKS'], error: 'names a shard that is not in MESH_SHARD_URLS' },
);

/** The only place that reads the environment. Throws one error that names every fault. */
export function readConfig(environment: NodeJS.ProcessEnv = process.env) {
  const parsed = Consistent.safeParse(environment);
  if (!parsed.success) throw new Error(`lifecycle's environment cannot be used:\n${z.prettifyError(parsed.error)}`);
  return Object.freeze(parsed.data);
}

export type Config = ReturnType<typeof readConfig>;
