import { z } from 'zod';
import { brokerSettings } from '#messaging/index.js';
import { serviceSettings } from '#observability/index.js';
import { findPlan } from '#odoo/index.js';
import { databaseSettings, jobSettings } from '#persistence/index.js';

const list = z.string().transform((text) => text.split(',').filter((one) => one !== ''));

/** `CIDR` or `CIDR:port`, …. */
const networks = (usualPort: number) =>
  list.default([]).transform((networks, ctx) =>
    networks.map((one) => {
      const [, cidr, port] = /^(\d+(?:\.\d+){3}\/\d+)(?::(\d+))?$/.exec(one) ?? [];
      if (!cidr) ctx.addIssue(`${one} is not CIDR or CIDR:port`);
      return { cidr: cidr!, port: Number(port ?? usualPort) };
    }),
  );

const Environment = z.object({
  ...serviceSettings(3001),
  ...brokerSettings,
  ...databaseSettings,
  ...jobSettings,
  MESH_KUBECONFIG: z.string(),
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
  /** `plan/odooVersion/bundle/language=count,…`: running spares to have at hand in each cell, on each shard. */
  MESH_SPARES: list.default([]).transform((spares, ctx) =>
    spares.map((one) => {
      const [, plan, odooVersion, bundle, language, count] =
        /^([^/=]+)\/([^/=]+)\/([^/=]+)\/([^/=]+)=(\d{1,3})$/.exec(one) ?? [];
      if (!plan || !findPlan(plan))
        ctx.addIssue(`${one} is not plan/odooVersion/bundle/language=count, with a plan there is`);
      return { plan: plan!, odooVersion: odooVersion!, bundle: bundle!, language: language!, count: Number(count) };
    }),
  ),
  MESH_PLACES_PER_CELL: z.coerce.number().int().min(1).max(1_000).default(1_000),
  MESH_MAX_CELLS: z.coerce.number().int().min(1).default(20),
  MESH_INGRESS_NAMESPACE: z.string().default('kube-system'),
  /** `address:port` where the edge answers, as the router reaches it; an address, not a name. */
  MESH_EDGE_ADDRESS: z
    .string()
    .transform((text, ctx) => {
      const [, address, port] = /^([0-9.]+):(\d{1,5})$/.exec(text) ?? [];
      if (!z.ipv4().safeParse(address).success || Number(port) < 1 || Number(port) > 65_535)
        ctx.addIssue('not an IPv4 address and a port, as in 10.43.7.7:80');
      return { address: address!, port: Number(port) };
    })
    .optional(),
  /** Out of bounds for an Odoo; K3s' defaults for pods and services. */
  MESH_CLUSTER_NETWORKS: list.default(['10.42.0.0/16', '10.43.0.0/16']),
  /** Where the shards answer, 5432 if nothing is said. */
  MESH_DATABASE_NETWORKS: networks(5432),
  /** Where the object store of backups answers, 443 if nothing is said; nothing: outside of the cluster, on 443. */
  MESH_OBJECT_STORE_NETWORKS: networks(443),
});

/** The only place that reads the environment. Throws one error that names every fault. */
export function readConfig(environment: NodeJS.ProcessEnv = process.env) {
  const parsed = Environment.safeParse(environment);
  if (!parsed.success) throw new Error(`the planner's environment cannot be used:\n${z.prettifyError(parsed.error)}`);
  return Object.freeze(parsed.data);
}

export type Config = ReturnType<typeof readConfig>;
