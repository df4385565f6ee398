import { z } from 'zod';
import { entrySettings, refuseContradictions, shardUrls } from '#footprints/settings.js';
import { brokerSettings } from '#messaging/index.js';
import { serviceSettings } from '#observability/index.js';
import { databaseSettings, duration, jobSettings } from '#persistence/index.js';

const Environment = z.object({
  ...serviceSettings(3002),
  ...brokerSettings,
  ...databaseSettings,
  ...jobSettings,
  MESH_KUBECONFIG: z.string(),
  MESH_SHARD_URLS: shardUrls,
  /** Has to retain its volumes: files are destroyed by an approved purge and by nothing else. */
  MESH_STORAGE_CLASS: z.string().min(1),
  /** An instance that is not Ready after this time is given up. Time in which nobody could look is not counted. */
  MESH_PROVISIONING_DEADLINE: duration.default(900_000).pipe(z.number().min(1_000).max(86_400_000)),
  ...entrySettings,
});

const Consistent = Environment.superRefine(refuseContradictions);

/** The only place that reads the environment. Throws one error that names every fault. */
export function readConfig(environment: NodeJS.ProcessEnv = process.env) {
  const parsed = Consistent.safeParse(environment);
  if (!parsed.success)
    throw new Error(`the provisioner's environment cannot be used:\n${z.prettifyError(parsed.error)}`);
  return Object.freeze(parsed.data);
}

export type Config = ReturnType<typeof readConfig>;
