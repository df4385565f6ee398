import type { GivenAddresses } from './config.js';

export const components = ['broker', 'database', 'cluster', 's3', 'jaeger'] as const;
export type Component = (typeof components)[number];

/**
 * given: somebody else's server, named in the environment; used, never started or stopped.
 * docker: `docker compose` of this repository. own: processes of ours on this machine.
 */
export type Rung = 'given' | 'docker' | 'own';

export interface Choice {
  readonly rung: Rung;
  /** The reason, as it is printed. */
  readonly why: string;
}

/** Jaeger is left out where nobody asks for traces. */
export type Choices = Record<Exclude<Component, 'jaeger'>, Choice> & { readonly jaeger?: Choice };

export interface Circumstances {
  readonly given: GivenAddresses;
  /** What each component of this state folder was started as, if it runs. */
  readonly running: Partial<Record<Component, Rung>>;
  /** The version of the engine, or why there is none. */
  readonly docker: { readonly version: string } | { readonly missing: string };
}

const variable = {
  broker: 'MESH_RABBITMQ_URL',
  database: 'MESH_POSTGRES_URL',
  cluster: 'MESH_KUBECONFIG',
  s3: 'MESH_S3_ENDPOINT',
  jaeger: 'MESH_JAEGER_URL',
} as const;

/** For each component the first that is there: an address in the environment, docker compose, own processes. */
export function chooseRungs({ given, running, docker }: Circumstances): Record<Component, Choice> {
  const address = {
    broker: given.brokerUrl,
    database: given.databaseUrl,
    cluster: given.kubeconfig,
    s3: given.s3?.endpoint,
    jaeger: given.jaegerUrl,
  };
  const choose = (component: Component): Choice => {
    if (address[component]) return { rung: 'given', why: `${variable[component]} is set` };
    const kept = running[component];
    if (kept) return { rung: kept, why: 'already running' };
    if ('version' in docker) return { rung: 'docker', why: `Docker ${docker.version} answers` };
    return { rung: 'own', why: docker.missing };
  };
  return {
    broker: choose('broker'),
    database: choose('database'),
    cluster: choose('cluster'),
    s3: choose('s3'),
    jaeger: choose('jaeger'),
  };
}
