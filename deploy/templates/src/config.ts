import { z } from 'zod';

const list = z.string().transform((text) => text.split(',').filter((one) => one !== ''));

const Environment = z.object({
  MESH_NAME: z.string().default('mesh'),
  /** An administrator's. */
  MESH_KUBECONFIG: z.string(),
  /** `postgres://<mesh>_shard:…@host:port/postgres`. */
  MESH_SHARD_URL: z.url(),
  MESH_STORAGE_CLASS: z.string().min(1),
  MESH_CLUSTER_NETWORKS: list.default(['10.42.0.0/16', '10.43.0.0/16']),
});

/** The only place of deploy/templates that reads the environment. Throws one error that names every fault. */
export function readConfig(environment: NodeJS.ProcessEnv = process.env) {
  const parsed = Environment.safeParse(environment);
  if (!parsed.success) throw new Error(`the environment cannot be used:\n${z.prettifyError(parsed.error)}`);
  return Object.freeze(parsed.data);
}
