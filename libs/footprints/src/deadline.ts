/**
 * What a making has used up of its time. Only time that was looked at counts: "could not look" is no reason to give up.
 */
export interface TimeSpent {
  readonly spentMs: number;
  /** When cluster and shard were seen last; null: since then they could not be reached. */
  readonly seenAt: Date | null;
}

/** A making of which nothing was seen yet. */
export const timeSpentAtFirst = (now: Date): TimeSpent => ({ spentMs: 0, seenAt: now });

/**
 * One look speaks for so long before it, in ms: for a step, or for the pause between two looks. What is longer was time
 * in which nobody could look: cluster, shard, the mesh's own database or all provisioners were away. Never so much that
 * one such time alone would be the end.
 */
function lookSpeaksForMs(deadlineMs: number): number {
  return Math.min(60_000, deadlineMs / 3);
}

/** Cluster and shard are seen at `now`, so the time since they were seen last counts, as far as this look speaks for it. */
export function seen({ spentMs, seenAt }: TimeSpent, now: Date, deadlineMs: number): TimeSpent {
  const since = seenAt ? Math.max(0, now.getTime() - seenAt.getTime()) : 0;
  return { spentMs: Math.round(spentMs + Math.min(since, lookSpeaksForMs(deadlineMs))), seenAt: now };
}

/** Cluster or shard cannot be reached: nothing counts until they are seen again. */
export function unseen({ spentMs }: TimeSpent): TimeSpent {
  return { spentMs, seenAt: null };
}

/** Obstacles behind which nothing of the world is known. */
export function hidesTheWorld(reason: string): boolean {
  return reason === 'CLUSTER_UNAVAILABLE' || reason === 'SHARD_UNAVAILABLE';
}

/**
 * Whether a sight has to be kept, and not only every fourth or so: it is a write of its own, and who dies without it
 * makes a gap that is still short enough to count.
 */
export function isWorthKeeping(kept: TimeSpent, now: Date, deadlineMs: number): boolean {
  return kept.seenAt === null || now.getTime() - kept.seenAt.getTime() >= lookSpeaksForMs(deadlineMs) / 4;
}
