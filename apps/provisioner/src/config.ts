import { z } from 'zod';
import { defaultRetryLevels, parseRetryLevels } from '#messaging/index.js';

const Environment = z.object({
  /** Everything global begins with it. */
  MESH_NAME: z
    .string()
    .regex(/^[a-z]([a-z0-9-]{0,27}[a-z0-9])?$/)
    .default('mesh'),
  /** `amqp://<mesh>-provisioner:password@host/<vhost>` */
  MESH_AMQP_URL: z.url(),
  MESH_DATABASE_URL: z.url(),
  MESH_KUBECONFIG: z.string(),
  MESH_HTTP_HOST: z.string().default('127.0.0.1'),
  MESH_HTTP_PORT: z.coerce.number().int().min(0).max(65_535).default(3002),
  MESH_LOG_LEVEL: z.enum(['debug', 'info', 'warn', 'error']).default('info'),
  /** OTLP/HTTP collector, `http://host:4318`; nothing is exported without one. */
  MESH_OTLP_ENDPOINT: z.url().optional(),
  /** `1s,5s,30s,2m,10m,1h`: how long a message that failed waits, each time. */
  MESH_RETRY_LEVELS: z.string().transform(parseRetryLevels).default(defaultRetryLevels),
  /** `name=postgres://…,…`: the shards with the mesh role's address on each. */
  MESH_SHARD_URLS: z.string().transform((text, ctx) =>
    text.split(',').map((one) => {
      const at = one.indexOf('=');
      const [name, url] = [one.slice(0, at), one.slice(at + 1)];
      if (at < 1 || !URL.canParse(url)) ctx.addIssue('not a list of name=postgres://…');
      return { name, url };
    }),
  ),
  /** Has to retain its volumes: files are destroyed by an approved purge and by nothing else. */
  MESH_STORAGE_CLASS: z.string().min(1),
  MESH_URL_SCHEME: z.enum(['http', 'https']).default('https'),
});

/** The only place that reads the environment. Throws one error that names every fault. */
export function readConfig(environment: NodeJS.ProcessEnv = process.env) {
  const parsed = Environment.safeParse(environment);
  if (!parsed.success)
    throw new Error(`the provisioner's environment cannot be used:\n${z.prettifyError(parsed.error)}`);
  return Object.freeze(parsed.data);
}

export type Config = ReturnType<typeof readConfig>;
