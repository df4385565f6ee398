import { quantityOf } from './quantity.js';

/**
 * By the names that a ResourceQuota has for them, in bytes, cores and pieces. `memory` and `cpu` are the requests, as
 * quotas call them too.
 */
export type Demand = Readonly<Record<string, number>>;

type Amounts = Readonly<Record<string, string>> | undefined;
interface Container {
  readonly restartPolicy?: string | undefined;
  readonly resources?: { readonly requests?: Amounts; readonly limits?: Amounts } | undefined;
}

/**
 * What a pod counts for in a quota. Its init containers run one after the other, before the others; those that are
 * restarted always are sidecars, which stay (Kubernetes: Sidecar Containers, "Resource sharing within containers").
 */
export function podDemand(spec: {
  readonly containers: readonly Container[];
  readonly initContainers?: readonly Container[] | undefined;
}): Demand {
  const [cpu, memory] = [peakOf(spec, 'requests', 'cpu'), peakOf(spec, 'requests', 'memory')];
  return {
    pods: 1,
    'count/pods': 1,
    cpu,
    memory,
    'requests.cpu': cpu,
    'requests.memory': memory,
    'limits.cpu': peakOf(spec, 'limits', 'cpu'),
    'limits.memory': peakOf(spec, 'limits', 'memory'),
  };
}

function peakOf(
  { containers, initContainers = [] }: Parameters<typeof podDemand>[0],
  kind: 'requests' | 'limits',
  resource: 'cpu' | 'memory',
): number {
  let sidecars = 0;
  let peak = 0;
  for (const one of initContainers) {
    const amount = amountOf(one, kind, resource);
    if (one.restartPolicy === 'Always') sidecars += amount;
    peak = Math.max(peak, one.restartPolicy === 'Always' ? sidecars : sidecars + amount);
  }
  return Math.max(peak, sidecars + containers.reduce((sum, one) => sum + amountOf(one, kind, resource), 0));
}

/** Who says only what it may have at most asks for that much. */
function amountOf({ resources }: Container, kind: 'requests' | 'limits', resource: 'cpu' | 'memory'): number {
  const limit = resources?.limits?.[resource];
  const amount = kind === 'limits' ? limit : (resources?.requests?.[resource] ?? limit);
  return quantityOf(amount ?? '0');
}

/** All of them at once. */
export function sumOf(demands: readonly Demand[]): Demand {
  const sum: Record<string, number> = {};
  for (const demand of demands)
    for (const [name, amount] of Object.entries(demand)) sum[name] = (sum[name] ?? 0) + amount;
  return sum;
}

export interface QuotaScope {
  readonly scopes?: readonly string[] | undefined;
  readonly scopeSelector?:
    | {
        readonly matchExpressions?:
          | readonly {
              readonly scopeName: string;
              readonly operator: string;
              readonly values?: readonly string[] | undefined;
            }[]
          | undefined;
      }
    | undefined;
}

/** Whether a quota counts a pod that asks for something, has no end of its own, and this priority: as all of ours are. */
export function countsPod({ scopes = [], scopeSelector }: QuotaScope, priorityClass: string): boolean {
  const whole = scopes.map((scopeName) => ({ scopeName, operator: 'Exists', values: [] }));
  return [...whole, ...(scopeSelector?.matchExpressions ?? [])].every(({ scopeName, operator, values = [] }) => {
    if (scopeName !== 'PriorityClass') return scopeName === 'NotTerminating' || scopeName === 'NotBestEffort';
    if (operator === 'In') return values.includes(priorityClass);
    if (operator === 'NotIn') return !values.includes(priorityClass);
    return operator === 'Exists';
  });
}
