import type { Service } from '#contracts/index.js';
import { type Footprint, isSpare, purposeOf } from './footprint.js';

export type Verdict =
  | { readonly kind: 'remove' }
  /** Too little was heard to say so; that may come. */
  | { readonly kind: 'unknown'; readonly why: string }
  | { readonly kind: 'refuse'; readonly code: 'IN_USE' | 'NOT_YOURS'; readonly message: string };

const madeForBackup: ReadonlySet<string | undefined> = new Set(['restore', 'clone', 'proof']);

/**
 * Whether somebody's word is enough to remove a footprint that stands, or is being made. The planner has its spares made and
 * the backup service what it fills: until an instance has it, it is theirs. Lifecycle knows where instances live: what it
 * asks for goes when it was heard that none lives there (any more). Whatever an instance lives in goes by its purge alone.
 */
export function removalOn(asker: Service | undefined, footprint: Footprint): Verdict {
  const { instanceId, residence } = footprint;
  const purpose = purposeOf(footprint);
  if (residence?.live) return { kind: 'refuse', code: 'IN_USE', message: `instance ${instanceId} lives in it` };
  if (asker === 'lifecycle') {
    if (instanceId === null && !isSpare(footprint)) return { kind: 'remove' };
    if (instanceId !== null && residence) return { kind: 'remove' };
    if (instanceId !== null) return { kind: 'unknown', why: `it is not known here where instance ${instanceId} lives` };
  }
  if (instanceId !== null) return { kind: 'refuse', code: 'IN_USE', message: `it is instance ${instanceId}'s` };
  if (asker === 'capacity-planner' && isSpare(footprint)) return { kind: 'remove' };
  if (asker === 'backup' && madeForBackup.has(purpose)) return { kind: 'remove' };
  return { kind: 'refuse', code: 'NOT_YOURS', message: `it was made for a ${purpose}, and not for who asks` };
}

/** Whether there may be snapshots of its volume that nobody has removed. */
export function snapshotsMayBe({ approval, snapshotsGone }: Footprint): boolean {
  return approval?.awaitsSnapshots === true && snapshotsGone !== approval.approvalId;
}
