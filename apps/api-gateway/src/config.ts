import { z } from 'zod';
import { defaultRetryLevels, parseRetryLevels } from '#messaging/index.js';

const Environment = z.object({
  /** Everything global begins with it. */
  MESH_NAME: z
    .string()
    .regex(/^[a-z]([a-z0-9-]{0,27}[a-z0-9])?$/)
    .default('mesh'),
  /** `amqp://<mesh>-api-gateway:password@host/<vhost>` */
  MESH_AMQP_URL: z.url(),
  MESH_DATABASE_URL: z.url(),
  MESH_HTTP_HOST: z.string().default('127.0.0.1'),
  MESH_HTTP_PORT: z.coerce.number().int().min(0).max(65_535).default(3000),
  MESH_LOG_LEVEL: z.enum(['debug', 'info', 'warn', 'error']).default('info'),
  /** OTLP/HTTP collector, `http://host:4318`; nothing is exported without one. */
  MESH_OTLP_ENDPOINT: z.url().optional(),
  /** `1s,5s,30s,2m,10m,1h`: how long a message that failed waits, each time. */
  MESH_RETRY_LEVELS: z.string().transform(parseRetryLevels).default(defaultRetryLevels),
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
