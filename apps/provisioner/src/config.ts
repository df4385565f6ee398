import { z } from 'zod';
import { brokerSettings } from '#messaging/index.js';
import { serviceSettings } from '#observability/index.js';
import { databaseSettings, duration, jobSettings } from '#persistence/index.js';

const Environment = z.object({
  ...serviceSettings(3002),
  ...brokerSettings,
  ...databaseSettings,
  ...jobSettings,
  MESH_KUBECONFIG: z.string(),
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
  /** An instance that is not Ready after this time is given up. Time in which nobody could look is not counted. */
  MESH_PROVISIONING_DEADLINE: duration.default(900_000).pipe(z.number().min(1_000).max(86_400_000)),
  MESH_URL_SCHEME: z.enum(['http', 'https']).default('https'),
  /**
   * A Secret, in the namespace of every cell, with a certificate that is good for all hosts: routes are on the router's
   * entry point `websecure` then. Without it they are on `web`, and who ends TLS, if anybody, stands before the router.
   */
  MESH_TLS_SECRET: z
    .string()
    .regex(/^[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?$/, 'not the name of a Secret')
    .optional(),
  /** In the address a customer gets, where it is not the scheme's own. */
  MESH_URL_PORT: z.coerce.number().int().min(1).max(65_535).optional(),
  /** The router of all hosts: an instance is Ready when it answers there. Without it, when its pod is. */
  MESH_ROUTER_URL: z.url({ protocol: /^https?$/ }).optional(),
});

const Consistent = Environment.refine((all) => all.MESH_TLS_SECRET === undefined || all.MESH_URL_SCHEME === 'https', {
  path: ['MESH_TLS_SECRET'],
  error: 'with it MESH_URL_SCHEME has to be https',
});

/** The only place that reads the environment. Throws one error that names every fault. */
export function readConfig(environment: NodeJS.ProcessEnv = process.env) {
  const parsed = Consistent.safeParse(environment);
  if (!parsed.success)
    throw new Error(`the provisioner's environment cannot be used:\n${z.prettifyError(parsed.error)}`);
  return Object.freeze(parsed.data);
}

export type Config = ReturnType<typeof readConfig>;
