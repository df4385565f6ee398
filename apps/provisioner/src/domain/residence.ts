import type { InstanceStateChanged, PayloadOf } from '#contracts/index.js';
import { type Footprint, isMadeFor, purposeOf, type Residence } from './footprint.js';

/** Lifecycle's word about where an instance lives. */
export type Word = Pick<PayloadOf<typeof InstanceStateChanged>, 'instanceId' | 'footprintId' | 'secret' | 'state'>;

/**
 * The footprint as the one that the instance lives in. One that was made to be filled is its own from then on, and removed
 * by its purge alone. Undefined: it is another's.
 */
export function becomesHome(word: Word, footprint: Footprint): Footprint | undefined {
  const { instanceId } = word;
  const residence = residenceAfter(word, footprint.residence);
  if (footprint.instanceId === instanceId) return { ...footprint, residence };
  if (footprint.instanceId !== null || !isMadeFor(footprint, instanceId)) return undefined;
  const state = footprint.state === 'standing' ? 'ready' : footprint.state;
  return { ...footprint, instanceId, residence, state };
}

/**
 * The instance lives elsewhere. One that it was only tried on is nobody's again, and whoever had it made may have it
 * removed.
 */
export function leftBehind(footprint: Footprint): Footprint {
  const { residence, state } = footprint;
  if (purposeOf(footprint) && residence && !residence.settled && state === 'ready')
    return { ...footprint, instanceId: null, residence: null, state: 'standing' };
  const { secret, settled } = residence ?? { secret: null, settled: true };
  return { ...footprint, residence: { live: false, secret, settled } };
}

function residenceAfter({ secret, state }: Word, before: Residence | null): Residence {
  return { live: true, secret, settled: before?.settled === true || state !== 'maintenance' };
}
