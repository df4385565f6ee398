import type { Why } from './backup.js';

/** Grandfather, father, son: of each of the newest spans that have a backup, one is kept. */
export const spans = ['hourly', 'daily', 'weekly', 'monthly', 'yearly'] as const;
export type Span = (typeof spans)[number];

/** What a plan promises about backups. */
export interface BackupPolicy {
  /** Database and files together, so often as long as an instance can change. */
  readonly everyMs: number;
  /**
   * RPO: work that no good backup has is never older, else somebody is told. Longer than `everyMs` by the time that a
   * backup waits for its turn, is made, and is tried once more.
   */
  readonly rpoMs: number;
  /** How many of each; a backup may be one of several. */
  readonly keep: Readonly<Record<Span, number>>;
  /** So many may be asked for by hand until the first of them has had its time. */
  readonly byHand: number;
  /** Nobody removes a younger one, not even with the mesh's own keys where the store knows locks. */
  readonly lockedMs: number;
  /** So often one is restored and compared as a whole; the others' copies are looked at. */
  readonly fullProofEveryMs: number;
  /** After its instance was destroyed. */
  readonly endedKeptMs: number;
}

export const hourMs = 3_600_000;
export const dayMs = 24 * hourMs;
export const weekMs = 7 * dayMs;

const none = { hourly: 0, daily: 0, weekly: 0, monthly: 0, yearly: 0 };

const enterprise: BackupPolicy = {
  everyMs: hourMs,
  rpoMs: 2 * hourMs,
  keep: { hourly: 48, daily: 30, weekly: 12, monthly: 24, yearly: 7 },
  byHand: 50,
  lockedMs: 3 * dayMs,
  fullProofEveryMs: weekMs,
  endedKeptMs: 180 * dayMs,
};

const policies: Readonly<Record<string, BackupPolicy>> = {
  trial: {
    everyMs: dayMs,
    rpoMs: 28 * hourMs,
    keep: { ...none, daily: 7 },
    byHand: 3,
    lockedMs: dayMs,
    fullProofEveryMs: weekMs,
    endedKeptMs: 30 * dayMs,
  },
  starter: {
    everyMs: dayMs,
    rpoMs: 28 * hourMs,
    keep: { ...none, daily: 7, weekly: 4, monthly: 3 },
    byHand: 10,
    lockedMs: 3 * dayMs,
    fullProofEveryMs: weekMs,
    endedKeptMs: 30 * dayMs,
  },
  business: {
    everyMs: 6 * hourMs,
    rpoMs: 8 * hourMs,
    keep: { ...none, hourly: 8, daily: 14, weekly: 8, monthly: 12 },
    byHand: 20,
    lockedMs: 3 * dayMs,
    fullProofEveryMs: weekMs,
    endedKeptMs: 90 * dayMs,
  },
  enterprise,
};

/** Of a plan that a newer service has named, the most careful one: nothing goes because we do not know a word yet. */
export function policyOf(plan: string): BackupPolicy {
  return Object.hasOwn(policies, plan) ? policies[plan]! : enterprise;
}

/** How long it is kept for the sake of whoever asked for it, however many newer ones there are. */
const atLeastMs: Readonly<Record<Why, number>> = {
  scheduled: 0,
  manual: 30 * dayMs,
  'pre-upgrade': 30 * dayMs,
  safety: 14 * dayMs,
  final: 30 * dayMs,
};

/** No rule lets it go before. */
export function keptUntil(policy: BackupPolicy, { why, takenAt }: { why: Why; takenAt: Date }): Date {
  return new Date(takenAt.getTime() + Math.max(policy.lockedMs, atLeastMs[why]));
}
