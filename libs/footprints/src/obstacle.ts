import {
  Forbidden,
  Invalid,
  KubernetesError,
  NotFound,
  ServerFault,
  TooManyRequests,
  Unreachable,
} from '#kubernetes/index.js';
import { isUnavailable } from '#persistence/index.js';
import { TenantDatabaseError } from '#tenant-databases/index.js';

/**
 * What keeps a step from being done, where it is known: a code and words for whoever was woken. The step is tried again
 * all the same; most of these go away.
 */
export class Obstacle extends Error {
  constructor(
    readonly reason: string,
    message: string,
    options?: ErrorOptions,
  ) {
    super(message, options);
    this.name = 'Obstacle';
  }
}

/** What the cluster says, or an Obstacle where a person can do something about it or at least knows what to wait for. */
export async function askingCluster<T>(answer: Promise<T>): Promise<T> {
  try {
    return await answer;
  } catch (error) {
    const reason = reasonOfCluster(error);
    if (!reason) throw error;
    throw new Obstacle(reason, (error as Error).message, { cause: error });
  }
}

function reasonOfCluster(error: unknown): string | undefined {
  if (!(error instanceof KubernetesError)) return undefined;
  if (error instanceof Unreachable || error instanceof ServerFault || error instanceof TooManyRequests)
    return 'CLUSTER_UNAVAILABLE';
  if (error instanceof Forbidden) return error.byQuota ? 'CELL_FULL' : 'CLUSTER_FORBIDS';
  if (error instanceof NotFound) return 'CELL_MISSING';
  return error instanceof Invalid ? 'MANIFEST_REFUSED' : undefined;
}

const ofSqlState: Readonly<Record<string, string>> = {
  '28000': 'SHARD_REFUSES_LOGIN',
  '28P01': 'SHARD_REFUSES_LOGIN',
  '42501': 'SHARD_FORBIDS',
  '53100': 'SHARD_DISK_FULL',
};

/** The same for a shard's answers; undefined: nobody can be told more than the error says. */
export function reasonOfShard(error: unknown): string | undefined {
  if (error instanceof TenantDatabaseError) return error.code;
  return (
    ofSqlState[(error as { code?: string }).code ?? ''] ?? (isUnavailable(error) ? 'SHARD_UNAVAILABLE' : undefined)
  );
}
