import { type Footprint, isMadeFor } from './footprint.js';

/**
 * The footprint as the one that the instance lives in. One that was made to be filled is its own from then on, and removed
 * by its purge alone. Undefined: it is another's.
 */
export function becomesHomeOf(instanceId: string, secret: string, footprint: Footprint): Footprint | undefined {
  const residence = { live: true, secret };
  if (footprint.instanceId === instanceId) return { ...footprint, residence };
  if (footprint.instanceId !== null || !isMadeFor(footprint, instanceId)) return undefined;
  const state = footprint.state === 'standing' ? 'ready' : footprint.state;
  return { ...footprint, instanceId, residence, state };
}

/** The instance lives elsewhere. */
export function leftBehind(footprint: Footprint): Footprint {
  return { ...footprint, residence: { live: false, secret: footprint.residence?.secret ?? null } };
}
