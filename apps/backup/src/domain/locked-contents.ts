import { weekMs } from './policy.js';
import { spread } from './schedule.js';

const lockedAheadMs = 2 * weekMs;

/**
 * Backups share contents, and each of them would have to lock all it names anew. So they are locked for two to four weeks more
 * than the backup at hand needs, and those that come until then find them locked. How much more is the instance's own: not
 * all of a fleet lock theirs on one day.
 */
export function contentsLockedUntil(until: Date, instanceId: string): Date {
  const ahead = until.getTime() + lockedAheadMs * (1 + spread(instanceId));
  // Some stores keep no less.
  return new Date(Math.ceil(ahead / 1_000) * 1_000);
}
