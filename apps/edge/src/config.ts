import { z } from 'zod';
import { brokerSettings } from '#messaging/index.js';
import { serviceSettings } from '#observability/index.js';
import { databaseSettings } from '#persistence/index.js';

const Environment = z.object({
  ...serviceSettings(3003),
  ...brokerSettings,
  ...databaseSettings,
  /** Where the pages are served, to everybody: not where health and metrics are. */
  MESH_PAGES_HOST: z.string().default('127.0.0.1'),
  MESH_PAGES_PORT: z.coerce.number().int().min(0).max(65_535).default(8080),
});

/** The only place that reads the environment. Throws one error that names every fault. */
export function readConfig(environment: NodeJS.ProcessEnv = process.env) {
  const parsed = Environment.safeParse(environment);
  if (!parsed.success) throw new Error(`the edge's environment cannot be used:\n${z.prettifyError(parsed.error)}`);
  return Object.freeze(parsed.data);
}

export type Config = ReturnType<typeof readConfig>;
