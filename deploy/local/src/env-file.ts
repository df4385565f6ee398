import { readFileSync, renameSync, writeFileSync } from 'node:fs';

/** The addresses of a running stack; everything that talks to it takes them from here. */
export interface StackEnv {
  /** `amqp://user:password@host:port`, an administrator. */
  readonly MESH_RABBITMQ_URL: string;
  /** `http://user:password@host:port` of the management API. */
  readonly MESH_RABBITMQ_MANAGEMENT_URL: string;
  /** `postgres://user:password@host:port/postgres`, a superuser. */
  readonly MESH_POSTGRES_URL: string;
  /** Path of an administrator's kubeconfig. */
  readonly MESH_KUBECONFIG: string;
  /** `http://host:port` of a server that speaks S3, path style. */
  readonly MESH_S3_ENDPOINT: string;
  readonly MESH_S3_REGION: string;
  /** The administrator's, who may make buckets and users. With the next. */
  readonly MESH_S3_ROOT_ACCESS_KEY: string;
  readonly MESH_S3_ROOT_SECRET_KEY: string;
  /** The state folder of the stack. */
  readonly MESH_STATE: string;
  /** A StorageClass that binds at once and retains its volumes. */
  readonly MESH_STORAGE_CLASS: string;
  /** `kwok`: pods become Ready without running. `real`: they run. `own`: whatever the given cluster has. */
  readonly MESH_NODES: string;
  /** OTLP over HTTP, `http://host:port`. With the next, only of a stack with Jaeger. */
  readonly MESH_OTLP_ENDPOINT?: string;
  /** Jaeger's query API, `http://host:port`. */
  readonly MESH_JAEGER_URL?: string;
  /** With a real node: where its router answers for the hosts of instances, `http://host:port`. */
  readonly MESH_ROUTER_URL?: string;
  /** With a real node: where its pods find the servers of this stack. */
  readonly MESH_NODE_ADDRESS?: string;
}

const names = [
  'MESH_RABBITMQ_URL',
  'MESH_RABBITMQ_MANAGEMENT_URL',
  'MESH_POSTGRES_URL',
  'MESH_KUBECONFIG',
  'MESH_S3_ENDPOINT',
  'MESH_S3_REGION',
  'MESH_S3_ROOT_ACCESS_KEY',
  'MESH_S3_ROOT_SECRET_KEY',
  'MESH_STATE',
  'MESH_STORAGE_CLASS',
  'MESH_NODES',
] as const satisfies readonly (keyof StackEnv)[];
const optionalNames = [
  'MESH_OTLP_ENDPOINT',
  'MESH_JAEGER_URL',
  'MESH_ROUTER_URL',
  'MESH_NODE_ADDRESS',
] as const satisfies readonly (keyof StackEnv)[];

/** One `NAME=value` a line, readable by `set -a; . file` and by `node --env-file`. Throws on a value that is not. */
export function formatEnv(env: StackEnv): string {
  return [...names, ...optionalNames]
    .map((name) => {
      const value = env[name];
      if (value === undefined) return '';
      if (!/^[\w./:@%+,=-]*$/.test(value))
        throw new Error(`${name} holds a character that a shell would read: ${value}`);
      return `${name}=${value}\n`;
    })
    .join('');
}

/** Reads what `formatEnv` wrote. Throws when a variable is missing. */
export function parseEnv(text: string): StackEnv {
  const values = new Map(
    text
      .split('\n')
      .filter((line) => line.includes('='))
      .map((line) => [line.slice(0, line.indexOf('=')), line.slice(line.indexOf('=') + 1)]),
  );
  const missing = names.filter((name) => !values.has(name));
  if (missing.length > 0) throw new Error(`the environment file lacks ${missing.join(', ')}`);
  const there = [...names, ...optionalNames].filter((name) => values.has(name));
  return Object.fromEntries(there.map((name) => [name, values.get(name)])) as unknown as StackEnv;
}

/** Written whole or not at all; readable by its owner only, for it holds passwords. */
export function writeEnvFile(file: string, env: StackEnv): void {
  writeFileSync(`${file}.new`, formatEnv(env), { mode: 0o600 });
  renameSync(`${file}.new`, file);
}

/** Undefined when there is none, or one that an older version wrote. */
export function readEnvFile(file: string): StackEnv | undefined {
  try {
    return parseEnv(readFileSync(file, 'utf8'));
  } catch {
    return undefined;
  }
}
