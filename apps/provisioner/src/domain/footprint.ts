import type { FootprintPlaced, InstancePlaced, PayloadOf } from '#contracts/index.js';
import type { TimeSpent } from '#footprints/deadline.js';
import { findPlan, type Plan } from '#odoo/index.js';
import type { Step } from './next-action.js';

export type Placed = PayloadOf<typeof InstancePlaced>;
/** A footprint that is no instance's yet: only its place, and what it is for. */
export type Beside = PayloadOf<typeof FootprintPlaced>;
export type Purpose = Beside['purpose'];

/** Everything one Odoo needs on the cluster and on a shard, on its way from nothing to Ready and, one day, to nothing. */
export interface Footprint extends TimeSpent {
  readonly footprintId: string;
  /** Null until it is an instance's: that claims the spare, is made on the clone, is switched to it. Then it is that one's for ever. */
  readonly instanceId: string | null;
  /** What the planner decided; where no instance was placed on it, only the place. */
  readonly placed: Placed | Beside;
  /**
   * `making` → `ready` → `removing` → `removed`; `making` → `failed`, from where it may be made again; cancelled, from
   * both to `removing`, so that it is never `ready`. A spare:
   * `making` → `spare` → `removing` → `removed`, and from anywhere before `removing`, claimed, to `making` as an instance's.
   * One that is to be filled: `making` → `standing`, then to `making` again as the instance's that is made on it, or to
   * `ready` when one is switched to it.
   */
  readonly state: 'making' | 'spare' | 'standing' | 'ready' | 'failed' | 'removing' | 'removed';
  /** Stands on every object and in the database's comment. Grows when the footprint is made over again. */
  readonly epoch: number;
  readonly timings: Partial<Record<Step, number>>;
  readonly condition: Condition | null;
  readonly approval: Approval | null;
  /** Lifecycle's last word on whether an instance lives in it; null: none was heard. */
  readonly residence: Residence | null;
  /** The approval under which the backup service has removed the snapshots of its volume. */
  readonly snapshotsGone: string | null;
  readonly startedAt: Date;
  readonly traceparent: string | null;
  readonly correlationId: string;
}

export interface Condition {
  readonly reason: string;
  readonly message: string;
  /** RFC 3339. */
  readonly since: string;
  readonly fault: 'user' | 'platform' | 'provider';
}

export interface Residence {
  readonly live: boolean;
  /** The Secret that it lived with last. */
  readonly secret: string | null;
  /** It was more than tried: somebody may have worked there. */
  readonly settled: boolean;
}

/** Why this footprint may be destroyed. */
export interface Approval {
  /**
   * Lifecycle's word that its instance ends: it approved a purge, or cancelled what was not Ready yet; then the id of that
   * request. Absent: no instance lives in it, and somebody has asked for its removal.
   */
  readonly approvalId?: string | undefined;
  /** Of the requests for its removal, each of which is answered. */
  readonly requests?: readonly string[] | undefined;
  /** RFC 3339; a cancelling does not expire. */
  readonly expiresAt?: string | undefined;
  /** The database that lived, if it is not the first one: a copy of that. */
  readonly database?: string | undefined;
  /** Secrets beside the first one. */
  readonly secrets?: readonly string[] | undefined;
  /** It was backed up: its volume stays until the backup service says that no snapshot of it is left. */
  readonly awaitsSnapshots?: boolean | undefined;
}

export function isSpare({ instanceId, placed }: Footprint): boolean {
  return instanceId === null && 'purpose' in placed && placed.purpose === 'spare';
}

/** For somebody to fill: an empty database, an empty volume, and nothing that runs. */
export function isToBeFilled(footprint: Footprint): boolean {
  return footprint.instanceId === null && !isSpare(footprint);
}

/** An instance is made on it, and what it holds came from a backup. */
export function isFilled({ placed }: Footprint): boolean {
  return 'specification' in placed && placed.claim === 'footprint';
}

/** What it was made for; undefined: for an instance. */
export function purposeOf({ placed }: Footprint): Purpose | undefined {
  return 'purpose' in placed ? placed.purpose : undefined;
}

/** Whether an instance can be made on it, as the planner has it. A spare may be claimed before it stands. */
export function canBeMadeOn(footprint: Footprint, claim: Placed['claim']): boolean {
  if (isSpare(footprint)) return claim === 'spare';
  return claim === 'footprint' && purposeOf(footprint) === 'clone' && footprint.state === 'standing';
}

/** Whether it was made to be filled with this instance's data. */
export function isMadeFor({ placed }: Footprint, instanceId: string): boolean {
  return 'purpose' in placed && placed.sourceInstanceId === instanceId;
}

/** What is said of it when nothing is left of it. */
export function removedAs(footprint: Footprint): Purpose | 'instance' {
  return purposeOf(footprint) ?? 'instance';
}

/** Where no instance was placed on it. Throws for one where it was. */
export function besideOf({ footprintId, placed }: Footprint): Beside {
  if ('purpose' in placed) return placed;
  throw new Error(`footprint ${footprintId} was placed for an instance`);
}

/** What the customer asked for. Throws where no instance was placed on it. */
export function orderOf({ footprintId, placed }: Footprint): Placed {
  if ('specification' in placed) return placed;
  throw new Error(`footprint ${footprintId} has no customer: no instance was placed on it`);
}

export function customerOf({ placed }: Footprint): string | undefined {
  return 'specification' in placed ? placed.specification.customerId : undefined;
}

/** The plan in the version that was accepted: later numbers are for later instances. */
export function planOf({ placed }: Footprint): Plan {
  const { name, version } = placed.plan;
  const plan = findPlan(name, version);
  if (!plan) throw new Error(`plan ${name} in version ${version} is not known to this release of the provisioner`);
  return plan;
}
