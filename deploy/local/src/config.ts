import { existsSync } from 'node:fs';
import { homedir, userInfo } from 'node:os';
import { dirname, join, resolve } from 'node:path';

/** What the local stack takes from the environment; the only place of `deploy/local` that reads it. */
export interface LocalConfig {
  /** The checkout. */
  readonly root: string;
  /** Everything that runs keeps its data, logs and pids below this folder. `MESH_STATE` moves it. */
  readonly state: string;
  /** Built binaries, shared by all checkouts of this user. `MESH_CACHE` moves it. */
  readonly cache: string;
  /** Addresses of servers that are somebody else's: they are used, never started or stopped. */
  readonly given: GivenAddresses;
  /** Set when the shell has a KUBECONFIG: it may be somebody's production, so it is named and not used. */
  readonly ambientKubeconfig: string | undefined;
  /** CI answers no questions. */
  readonly ci: boolean;
  /** How many simulated nodes the cluster gets. */
  readonly nodes: number;
  /** `kwok`: simulated nodes alone. `MESH_NODES` sets it; else there is a real node where this machine can have one. */
  readonly nodesWanted: 'kwok' | 'real';
  /** An Odoo to use in place of the stand-in. `MESH_ODOO_IMAGE` is its name, `MESH_ODOO_IMAGE_FILE` a tar in OCI layout. */
  readonly odooImage: { readonly name: string; readonly file: string } | undefined;
  /** Where `prometheus` and `promtool` are, in place of those of the distribution. `MESH_PROMETHEUS` sets it. */
  readonly prometheusFolder: string | undefined;
  readonly isRoot: boolean;
  /** For the tools we call (go, apt-get, pip, docker): proxies and mirrors are their business. */
  readonly environment: Readonly<Record<string, string | undefined>>;
}

/** A server that speaks S3, and the keys of who administers it. */
export interface S3Address {
  readonly endpoint: string;
  readonly region: string;
  readonly accessKey: string;
  readonly secretKey: string;
}

export interface GivenAddresses {
  readonly brokerUrl: string | undefined;
  readonly brokerManagementUrl: string | undefined;
  readonly databaseUrl: string | undefined;
  readonly kubeconfig: string | undefined;
  /** Its keys may make buckets. */
  readonly s3: S3Address | undefined;
  /** OTLP over HTTP, and the query API of the Jaeger behind it. */
  readonly otlpEndpoint: string | undefined;
  readonly jaegerUrl: string | undefined;
}

/** A unix socket's path holds 107 bytes, of which whatever lives in the state folder needs about 60. */
const longestStatePath = 48;

/** Reads and checks the environment. Throws one error that names every fault. */
export function readConfig(environment: NodeJS.ProcessEnv = process.env): LocalConfig {
  const faults: string[] = [];
  const set = (name: string) => environment[name] || undefined;
  const uid = userInfo().uid;

  const state = resolve(set('MESH_STATE') ?? `/var/tmp/odoo-mesh-${uid}`);
  if (state.length > longestStatePath)
    faults.push(`MESH_STATE=${state} is longer than ${longestStatePath} characters; choose a shorter path`);

  const nodes = Number(set('MESH_KWOK_NODES') ?? 10);
  if (!Number.isInteger(nodes) || nodes < 1 || nodes > 5000)
    faults.push(`MESH_KWOK_NODES=${set('MESH_KWOK_NODES')} is not a whole number between 1 and 5000`);

  const nodesWanted = set('MESH_NODES') ?? 'real';
  // `own` stands in the environment file of a stack on a given cluster.
  if (!['kwok', 'real', 'own'].includes(nodesWanted)) faults.push(`MESH_NODES=${nodesWanted} is neither kwok nor real`);

  const odooImage = { name: set('MESH_ODOO_IMAGE'), file: set('MESH_ODOO_IMAGE_FILE') };
  if ((odooImage.name === undefined) !== (odooImage.file === undefined))
    faults.push('MESH_ODOO_IMAGE and MESH_ODOO_IMAGE_FILE belong together: set both or neither');
  if (odooImage.file !== undefined && !existsSync(odooImage.file))
    faults.push(`MESH_ODOO_IMAGE_FILE=${odooImage.file} is not there`);

  const s3 = {
    endpoint: set('MESH_S3_ENDPOINT'),
    region: set('MESH_S3_REGION'),
    accessKey: set('MESH_S3_ROOT_ACCESS_KEY'),
    secretKey: set('MESH_S3_ROOT_SECRET_KEY'),
  };
  const s3Complete = isComplete(s3) ? s3 : undefined;
  if (!s3Complete && Object.values(s3).some((value) => value !== undefined))
    faults.push(
      'MESH_S3_ENDPOINT, MESH_S3_REGION, MESH_S3_ROOT_ACCESS_KEY and MESH_S3_ROOT_SECRET_KEY belong together: set all or none',
    );

  const given: GivenAddresses = {
    brokerUrl: set('MESH_RABBITMQ_URL'),
    brokerManagementUrl: set('MESH_RABBITMQ_MANAGEMENT_URL'),
    databaseUrl: set('MESH_POSTGRES_URL'),
    kubeconfig: set('MESH_KUBECONFIG'),
    s3: s3Complete,
    otlpEndpoint: set('MESH_OTLP_ENDPOINT'),
    jaegerUrl: set('MESH_JAEGER_URL'),
  };
  if ((given.brokerUrl === undefined) !== (given.brokerManagementUrl === undefined))
    faults.push('MESH_RABBITMQ_URL and MESH_RABBITMQ_MANAGEMENT_URL belong together: set both or neither');
  if ((given.otlpEndpoint === undefined) !== (given.jaegerUrl === undefined))
    faults.push('MESH_OTLP_ENDPOINT and MESH_JAEGER_URL belong together: set both or neither');

  if (faults.length > 0) throw new Error(`The environment cannot be used:\n  ${faults.join('\n  ')}`);
  return Object.freeze({
    root: checkout(import.meta.dirname),
    state,
    cache: resolve(set('MESH_CACHE') ?? join(set('XDG_CACHE_HOME') ?? join(homedir(), '.cache'), 'odoo-mesh')),
    given,
    ambientKubeconfig: set('KUBECONFIG'),
    ci: ['1', 'true'].includes(set('CI') ?? ''),
    nodes,
    nodesWanted: nodesWanted === 'kwok' ? 'kwok' : 'real',
    odooImage: odooImage.name && odooImage.file ? { name: odooImage.name, file: resolve(odooImage.file) } : undefined,
    prometheusFolder: set('MESH_PROMETHEUS'),
    isRoot: uid === 0,
    environment,
  });
}

function isComplete(s3: { readonly [name in keyof S3Address]: string | undefined }): s3 is S3Address {
  return Object.values(s3).every((value) => value !== undefined);
}

/** This file runs from `deploy/local/src` (jest) and from `dist/deploy/local/src`. */
function checkout(folder: string): string {
  return existsSync(join(folder, 'package-lock.json')) ? folder : checkout(dirname(folder));
}
