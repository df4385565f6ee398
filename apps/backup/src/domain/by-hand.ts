import { type Backup, isUnderWay } from './backup.js';
import type { Refusal } from './instance.js';
import { type BackupPolicy, keptUntil } from './policy.js';

/**
 * Why another one is not made by hand; undefined: it is. One at a time, and no more than the plan has room for; what a proof has
 * found bad does not count, nor what is kept on for another reason than that somebody has asked for it.
 *
 * @param others all that were made by hand and that are there, or under way
 */
export function refusalByHand(
  policy: BackupPolicy,
  others: readonly Pick<Backup, 'backupId' | 'state' | 'takenAt' | 'fault'>[],
  now: Date,
): Refusal | undefined {
  const no = (code: string, message: string): Refusal => ({ code, fault: 'user', message });
  const open = others.find((one) => one.state === 'waiting' || isUnderWay(one));
  if (open) return no('BACKUP_RUNS', `one is being made already: ${open.backupId}; wait for it`);
  const ends = others
    .filter(({ state, fault }) => state === 'completed' && !fault)
    .map(({ takenAt }) => keptUntil(policy, { why: 'manual', takenAt: takenAt! }))
    .filter((end) => end > now)
    .sort((one, other) => one.getTime() - other.getTime());
  if (ends.length < policy.byHand) return undefined;
  const next = ends[ends.length - policy.byHand]!.toISOString();
  return no(
    'TOO_MANY_BACKUPS',
    `it has ${ends.length} that were asked for by hand, as many as its plan keeps; again from ${next} on`,
  );
}
