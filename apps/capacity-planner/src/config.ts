import { z } from 'zod';
import { defaultRetryLevels, parseRetryLevels } from '#messaging/index.js';

const list = z.string().transform((text) => text.split(',').filter((one) => one !== ''));

const Environment = z.object({
  /** Everything global begins with it. */
  MESH_NAME: z
    .string()
    .regex(/^[a-z]([a-z0-9-]{0,27}[a-z0-9])?$/)
    .default('mesh'),
  /** `amqp://<mesh>-capacity-planner:password@host/<vhost>` */
  MESH_AMQP_URL: z.url(),
  MESH_DATABASE_URL: z.url(),
  MESH_KUBECONFIG: z.string(),
  MESH_HTTP_HOST: z.string().default('127.0.0.1'),
  MESH_HTTP_PORT: z.coerce.number().int().min(0).max(65_535).default(3001),
  MESH_LOG_LEVEL: z.enum(['debug', 'info', 'warn', 'error']).default('info'),
  /** OTLP/HTTP collector, `http://host:4318`; nothing is exported without one. */
  MESH_OTLP_ENDPOINT: z.url().optional(),
  /** `1s,5s,30s,2m,10m,1h`: how long a message that failed waits, each time. */
  MESH_RETRY_LEVELS: z.string().transform(parseRetryLevels).default(defaultRetryLevels),
  /** Instances are `<slug>.<domain>`. */
  MESH_DOMAIN: z.hostname(),
  /** `name=databases,…`: the shards and how many tenant databases each may hold. */
  MESH_SHARDS: list.transform((shards, ctx) =>
    shards.map((one) => {
      const [name, databases] = one.split('=');
      if (!name || !/^\d+$/.test(databases ?? '')) ctx.addIssue(`${one} is not name=databases`);
      return { name: name!, databases: Number(databases) };
    }),
  ),
  MESH_PLACES_PER_CELL: z.coerce.number().int().min(1).max(1_000).default(1_000),
  MESH_MAX_CELLS: z.coerce.number().int().min(1).default(20),
  MESH_INGRESS_NAMESPACE: z.string().default('kube-system'),
  /** Out of bounds for an Odoo; K3s' defaults for pods and services. */
  MESH_CLUSTER_NETWORKS: list.default(['10.42.0.0/16', '10.43.0.0/16']),
  MESH_DATABASE_NETWORKS: list.default([]),
});

/** The only place that reads the environment. Throws one error that names every fault. */
export function readConfig(environment: NodeJS.ProcessEnv = process.env) {
  const parsed = Environment.safeParse(environment);
  if (!parsed.success) throw new Error(`the planner's environment cannot be used:\n${z.prettifyError(parsed.error)}`);
  return Object.freeze(parsed.data);
}

export type Config = ReturnType<typeof readConfig>;
