/** What is still there of a footprint that is being destroyed. */
export interface Remains {
  readonly cluster: {
    readonly workload: boolean;
    /** Pods that have not gone yet: as long as one lives, it may write. */
    readonly pods: number;
    readonly volume: boolean;
    /** Its volume is being made just now: taken away in that moment, the claim would leave it behind. */
    readonly binding: boolean;
  };
  readonly shard: { readonly role: boolean; readonly database: boolean };
}

export type Removal =
  | { readonly kind: 'act'; readonly what: 'workload' | 'database' | 'volume' }
  | { readonly kind: 'wait'; readonly reason: string };

/**
 * The order of destruction: what writes goes first, then what was written. Undefined: nothing is left.
 * (Snapshots of the volume are removed before by the backup service.)
 */
export function nextRemoval({ cluster, shard }: Remains): Removal | undefined {
  if (cluster.workload) return { kind: 'act', what: 'workload' };
  if (cluster.pods > 0) return { kind: 'wait', reason: 'PodsTerminating' };
  if (shard.database || shard.role) return { kind: 'act', what: 'database' };
  if (cluster.binding) return { kind: 'wait', reason: 'VolumeBinding' };
  if (cluster.volume) return { kind: 'act', what: 'volume' };
  return undefined;
}
