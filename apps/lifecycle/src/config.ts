import { z } from 'zod';
import { entrySettings, refuseContradictions, shardUrls } from '#footprints/settings.js';
import { brokerSettings } from '#messaging/index.js';
import { serviceSettings } from '#observability/index.js';
import { databaseSettings, duration, jobSettings } from '#persistence/index.js';

const upTo = (mostMs: number) => z.number().min(1_000).max(mostMs);
const hour = 3_600_000;

const Environment = z.object({
  ...serviceSettings(3004),
  ...brokerSettings,
  ...databaseSettings,
  ...jobSettings,
  MESH_KUBECONFIG: z.string(),
  MESH_SHARD_URLS: shardUrls,
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

const Consistent = Environment.superRefine(refuseContradictions);

/** The only place that reads the environment. Throws one error that names every fault. */
export function readConfig(environment: NodeJS.ProcessEnv = process.env) {
  const parsed = Consistent.safeParse(environment);
  if (!parsed.success) throw new Error(`lifecycle's environment cannot be used:\n${z.prettifyError(parsed.error)}`);
  return Object.freeze(parsed.data);
}

export type Config = ReturnType<typeof readConfig>;
