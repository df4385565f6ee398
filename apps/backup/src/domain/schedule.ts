import type { InstanceState } from '#contracts/index.js';
import type { Why } from './backup.js';
import { type BackupPolicy, hourMs, weekMs } from './policy.js';

/** What the schedule looks at. */
export interface Scheduled {
  readonly instanceId: string;
  readonly policy: BackupPolicy;
  readonly state: InstanceState;
  /** Somebody works on it while it stands still. */
  readonly quiesced: boolean;
  /** The earliest change that no good backup has; null: the newest one has all there is. */
  readonly unsavedSince: Date | null;
  /** When the newest backup was asked for, whatever became of it. */
  readonly begunAt: Date | null;
  readonly newest: 'under way' | 'failed' | null;
}

/** Whole and at rest: nothing can change before its state does. */
const quiet: ReadonlySet<InstanceState> = new Set(['stopped', 'hibernated', 'suspended']);
/** Odoo runs, or somebody works on it. */
const canChange: ReadonlySet<InstanceState> = new Set(['running', 'maintenance']);

/** Its files and database do not change by themselves; still somebody looks once a week whether they can be read. */
const quietEveryMs = weekMs;

/**
 * When its next backup is due. An instant that has passed was missed and is caught up, once: the next one is counted from
 * what is begun then. Undefined: none before something about it changes.
 *
 * Each instance has its own instants, spread by its id, so that thousands are a steady rate and everyone's come at the
 * same time of day. What came to rest gets one more at its next instant, then one a week. What is not whole (yet, any more,
 * or while somebody works on it) gets none, and an instance's end has the backup that lifecycle asks for.
 */
export function nextBackupAt(one: Scheduled): Date | undefined {
  if (one.quiesced || one.newest === 'under way') return undefined;
  if (one.state !== 'running' && !quiet.has(one.state)) return undefined;
  const { everyMs } = one.policy;
  const after = latest(one.unsavedSince ?? new Date(0), one.begunAt);
  const next = instantAfter(one.instanceId, one.unsavedSince ? everyMs : quietEveryMs, after);
  if (one.newest !== 'failed' || !one.begunAt) return next;
  return earliest(next, new Date(one.begunAt.getTime() + retryMs(everyMs)));
}

/** A backup that failed was tried again by itself before; who asks soon again asks in vain, who waits a day waits too long. */
function retryMs(everyMs: number): number {
  return Math.min(everyMs / 4, hourMs);
}

/** The first instant after `after` of those that an instance has every `everyMs`. */
export function instantAfter(instanceId: string, everyMs: number, after: Date): Date {
  const offset = Math.floor(spread(instanceId) * everyMs);
  return new Date((Math.floor((after.getTime() - offset) / everyMs) + 1) * everyMs + offset);
}

/** In [0, 1), evenly over all ids, also those that differ in one digit: FNV-1a with the last step of MurmurHash3. */
export function spread(id: string): number {
  let hash = 0x811c9dc5;
  for (let at = 0; at < id.length; at += 1) hash = Math.imul(hash ^ id.charCodeAt(at), 0x01000193);
  hash = Math.imul(hash ^ (hash >>> 16), 0x85ebca6b);
  hash = Math.imul(hash ^ (hash >>> 13), 0xc2b2ae35);
  return ((hash ^ (hash >>> 16)) >>> 0) / 2 ** 32;
}

/** What the last look has found. */
export interface Saved {
  /** The earliest change that no good backup has; null: the newest one has all there is. */
  readonly unsavedSince: Date | null;
  /** The moment that the newest good backup shows. */
  readonly savedAt: Date | null;
}

/**
 * What of an instance no good backup has, by what is so now and what was found before; so it matters little how often
 * somebody looks, and what was missed meanwhile.
 *
 * @param before absent: nobody has looked yet
 */
export function unsavedSince(
  before: Saved | undefined,
  { state, since, savedAt }: { state: InstanceState; since: Date; savedAt: Date | null },
): Date | null {
  if (savedAt && !canChange.has(state) && since <= savedAt) return null;
  // What was good turned out not to be, or has gone: all since the one before it is unsaved again.
  if (before?.savedAt && (!savedAt || savedAt < before.savedAt)) return savedAt ?? before.savedAt;
  if (before?.unsavedSince) return latest(before.unsavedSince, savedAt);
  // It was at rest, and the newest backup had it all, until it changed.
  return before ? latest(since, savedAt) : (savedAt ?? since);
}

export type ProofDepth = 'full' | 'light';

/**
 * What a finished backup is to go through. Something irreversible waits for a final one and one before an upgrade; of the
 * scheduled ones the first of each span gets the full one, and the next one when that failed.
 *
 * @param fullAt the moment that the newest backup shows which was fully verified
 */
export function proofDepth(
  { instanceId, policy, why, takenAt }: { instanceId: string; policy: BackupPolicy; why: Why; takenAt: Date },
  fullAt: Date | null,
): ProofDepth {
  if (why === 'final' || why === 'pre-upgrade') return 'full';
  if (why !== 'scheduled') return 'light';
  return !fullAt || instantAfter(instanceId, policy.fullProofEveryMs, fullAt) <= takenAt ? 'full' : 'light';
}

function latest(one: Date, other: Date | null): Date {
  return other && other > one ? other : one;
}

function earliest(one: Date, other: Date): Date {
  return one < other ? one : other;
}
