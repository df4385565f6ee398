import type { Why } from './backup.js';
import { type BackupPolicy, dayMs, hourMs, keptUntil, type Span, spans } from './policy.js';

/** A complete backup, as far as its end is concerned. */
export interface Complete {
  readonly backupId: string;
  readonly why: Why;
  readonly takenAt: Date;
  /** What it went through; `bad`: it cannot be restored. */
  readonly proof?: 'full' | 'light' | 'bad' | undefined;
  /** A person wants it kept, whatever its time says. */
  readonly held: boolean;
  /** A restore or proof of it is asked for or runs. */
  readonly inUse: boolean;
  /** The store does not give it up before. */
  readonly lockedUntil?: Date | undefined;
}

export interface Expiry {
  readonly backupId: string;
  readonly reason: 'NEWER_ONES_ARE_KEPT' | 'INSTANCE_ENDED';
}

/**
 * Which of *all* complete backups of one instance may go now; a part of them would give another answer.
 *
 * Time alone lets nothing go: spans are counted over those that have a backup, so that an instance which stands still,
 * or whose backups fail, keeps what it has. Of a living instance its newest backup stays, the newest that is not bad, the newest
 * that was verified and the newest that was fully verified; so never all go. Of a destroyed one all go when its date has come.
 * Whatever is held, in use, or younger than its lock stays in any case; to leave it in changes nothing for the others.
 *
 * @param endedAt when the instance was destroyed; absent: it lives, or may live again
 */
export function expiring(
  policy: BackupPolicy,
  backups: readonly Complete[],
  now: Date,
  endedAt: Date | undefined,
): Expiry[] {
  const free = backups.filter((one) => !one.held && !one.inUse && !youngerThanItsLock(policy, one, now));
  if (endedAt) {
    const ends = endedAt.getTime() + policy.endedKeptMs <= now.getTime();
    return ends ? free.map(({ backupId }) => ({ backupId, reason: 'INSTANCE_ENDED' })) : [];
  }
  const kept = worthKeeping(policy, backups);
  return free
    .filter(({ backupId }) => !kept.has(backupId))
    .map(({ backupId }) => ({ backupId, reason: 'NEWER_ONES_ARE_KEPT' }));
}

function youngerThanItsLock(policy: BackupPolicy, { why, takenAt, lockedUntil }: Complete, now: Date): boolean {
  return now < keptUntil(policy, { why, takenAt }) || (lockedUntil !== undefined && now < lockedUntil);
}

/** By the rules that look at all of them together. */
function worthKeeping(policy: BackupPolicy, backups: readonly Complete[]): Set<string> {
  const byAge = [...backups].sort(newestFirst);
  const kept = new Set<string>();
  const keep = (one: Complete | undefined) => one && kept.add(one.backupId);
  keep(byAge[0]);
  keep(byAge.find(({ proof }) => proof !== 'bad'));
  keep(byAge.find(({ proof }) => proof === 'full' || proof === 'light'));
  keep(byAge.find(({ proof }) => proof === 'full'));
  const good = byAge.filter(({ proof }) => proof !== 'bad');
  for (const span of spans) for (const one of ofSpans(good, span, policy.keep[span])) keep(one);
  return kept;
}

/** One of each of the newest `count` spans that have any. Of a long span rather one that was fully verified than the newest. */
function ofSpans(byAge: readonly Complete[], span: Span, count: number): Complete[] {
  const chosen = new Map<number, Complete>();
  for (const one of byAge) {
    const number = spanNumber[span](one.takenAt);
    const before = chosen.get(number);
    if (!before) {
      // By age, so that what follows is of older spans only.
      if (chosen.size === count) break;
      chosen.set(number, one);
    } else if (span !== 'hourly' && span !== 'daily' && before.proof !== 'full' && one.proof === 'full')
      chosen.set(number, one);
  }
  return [...chosen.values()];
}

/** In UTC; weeks begin on Monday (the epoch was a Thursday). */
const spanNumber: Readonly<Record<Span, (at: Date) => number>> = {
  hourly: (at) => Math.floor(at.getTime() / hourMs),
  daily: (at) => Math.floor(at.getTime() / dayMs),
  weekly: (at) => Math.floor((at.getTime() / dayMs + 3) / 7),
  monthly: (at) => at.getUTCFullYear() * 12 + at.getUTCMonth(),
  yearly: (at) => at.getUTCFullYear(),
};

/** Of the same moment: by id, so that the order in which they were read says nothing. */
function newestFirst(one: Complete, other: Complete): number {
  return other.takenAt.getTime() - one.takenAt.getTime() || (one.backupId < other.backupId ? -1 : 1);
}
