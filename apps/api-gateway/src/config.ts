import { z } from 'zod';
import { brokerSettings } from '#messaging/index.js';
import { serviceSettings } from '#observability/index.js';
import { databaseSettings } from '#persistence/index.js';

const Environment = z.object({
  ...serviceSettings(3000),
  ...brokerSettings,
  ...databaseSettings,
  /**
   * SHA-256 of each key that may do everything, in hex, with commas between: the keys themselves stand nowhere. For the
   * first key, and for the day on which all others are lost.
   */
  MESH_API_KEY_HASHES: z
    .string()
    .regex(/^[0-9a-f]{64}(,[0-9a-f]{64})*$/)
    .transform((text) => text.split(',')),
  /** For each key and in each process. */
  MESH_API_CALLS_PER_MINUTE: z.coerce.number().int().min(1).default(6_000),
  /** Addresses or networks, with commas between, whose X-Forwarded-For is believed. Empty: nobody's. */
  MESH_TRUSTED_PROXIES: z
    .string()
    .regex(/^([0-9a-zA-Z.:/]+(,[0-9a-zA-Z.:/]+)*)?$/)
    .default(''),
});

/** The only place that reads the environment. Throws one error that names every fault. */
export function readConfig(environment: NodeJS.ProcessEnv = process.env) {
  const parsed = Environment.safeParse(environment);
  if (!parsed.success) throw new Error(`the gateway's environment cannot be used:\n${z.prettifyError(parsed.error)}`);
  return Object.freeze(parsed.data);
}

export type Config = ReturnType<typeof readConfig>;
