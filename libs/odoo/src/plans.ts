/** What a plan means for the machine. Versioned: a change of numbers is a new version, so that old instances keep theirs. */
export interface Plan {
  readonly name: string;
  readonly version: number;
  /** Kubernetes quantities. */
  readonly requests: { readonly cpu: string; readonly memory: string };
  readonly limits: { readonly cpu: string; readonly memory: string };
  /** Bytes. */
  readonly memoryLimitBytes: number;
  readonly storageBytes: number;
  /** `db_maxconn`. */
  readonly databasePool: number;
  /** CONNECTION LIMIT of the tenant's role: the pool, the LISTENs of cron and bus, and one upgrade Job beside them. */
  readonly databaseConnections: number;
  /** Programs may call Odoo from outside: `/xmlrpc` and `/jsonrpc`. */
  readonly rpc: boolean;
}

const MiB = 1024 ** 2;
const GiB = 1024 ** 3;

/**
 * An idle Odoo with 80 modules takes 136-160 MiB and dies below 144; building assets needs 310 (facts: odoo-in-a-pod
 * §4). A start costs 2.5 s of CPU, which a limit of 1 does not slow down. All plans run with workers = 0 until a
 * manifest for more is measured.
 */
function plan(
  name: string,
  version: number,
  memoryMiB: number,
  cpu: string,
  storageGiB: number,
  pool: number,
  { rpc = false } = {},
): Plan {
  return {
    name,
    version,
    requests: { cpu: '50m', memory: '160Mi' },
    limits: { cpu, memory: `${memoryMiB}Mi` },
    memoryLimitBytes: memoryMiB * MiB,
    storageBytes: storageGiB * GiB,
    databasePool: pool,
    databaseConnections: pool * 2 + 4,
    rpc,
  };
}

/**
 * A plan's newest version stands last. None is ever taken out or changed: instances are on it, and stay on it until
 * somebody asks for them to be resized.
 */
const plans: readonly Plan[] = [
  plan('trial', 1, 384, '1', 1, 8),
  plan('starter', 1, 512, '1', 5, 8),
  plan('business', 1, 768, '1', 10, 12),
  plan('enterprise', 1, 1536, '2', 50, 16),
  plan('enterprise', 2, 1536, '2', 50, 16, { rpc: true }),
];

/** The newest version of a plan, or the one that an instance is on. */
export function findPlan(name: string, version?: number): Plan | undefined {
  return plans.findLast((one) => one.name === name && (version === undefined || one.version === version));
}

export function planNames(): string[] {
  return [...new Set(plans.map((one) => one.name))];
}
