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
  /** There may be snapshots of its volume, which have to go before it. */
  readonly snapshots: boolean;
}

export type Removal =
  | { readonly kind: 'act'; readonly what: 'workload' | 'database' | 'volume' }
  | { readonly kind: 'wait'; readonly reason: string; readonly message: string };

/** The order of destruction: what writes goes first, then what was written. Undefined: nothing is left. */
export function nextRemoval({ cluster, shard, snapshots }: Remains): Removal | undefined {
  if (cluster.workload) return { kind: 'act', what: 'workload' };
  if (cluster.pods > 0) return wait('PodsTerminating', 'a pod is ending, and may write until then');
  if (shard.database || shard.role) return { kind: 'act', what: 'database' };
  if (cluster.volume && snapshots)
    return wait('SnapshotsRemain', 'the backup service has not said that all snapshots of the volume are gone');
  if (cluster.binding) return wait('VolumeBinding', 'its volume is being made just now');
  if (cluster.volume) return { kind: 'act', what: 'volume' };
  return undefined;
}

function wait(reason: string, message: string): Removal {
  return { kind: 'wait', reason, message };
}
