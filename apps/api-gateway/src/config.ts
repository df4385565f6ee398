import { z } from 'zod';
import { brokerSettings } from '#messaging/index.js';
import { serviceSettings } from '#observability/index.js';
import { databaseSettings } from '#persistence/index.js';

const Environment = z.object({
  ...serviceSettings(3000),
  ...brokerSettings,
  ...databaseSettings,
  /** SHA-256 of each key that may use the API, in hex, with commas between: the keys themselves stand nowhere. */
  MESH_API_KEY_HASHES: z
    .string()
    .regex(/^[0-9a-f]{64}(,[0-9a-f]{64})*$/)
    .transform((text) => text.split(',')),
});

/** The only place that reads the environment. Throws one error that names every fault. */
export function readConfig(environment: NodeJS.ProcessEnv = process.env) {
  const parsed = Environment.safeParse(environment);
  if (!parsed.success) throw new Error(`the gateway's environment cannot be used:\n${z.prettifyError(parsed.error)}`);
  return Object.freeze(parsed.data);
}

export type Config = ReturnType<typeof readConfig>;
