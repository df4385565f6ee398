import type { FootprintPlaced, InstancePlaced, PayloadOf } from '#contracts/index.js';
import type { TimeSpent } from '#footprints/deadline.js';
import { findPlan, type Plan } from '#odoo/index.js';
import type { Step } from './next-action.js';

export type Placed = PayloadOf<typeof InstancePlaced>;
export type SparePlaced = PayloadOf<typeof FootprintPlaced>;

/** Everything one Odoo needs on the cluster and on a shard, on its way from nothing to Ready and, one day, to nothing. */
export interface Footprint extends TimeSpent {
  readonly footprintId: string;
  /** Null of a spare, until an instance claims it: then it is that one's for ever. */
  readonly instanceId: string | null;
  /** What the planner decided; of a spare, until it is claimed, only the place. */
  readonly placed: Placed | SparePlaced;
  /**
   * `making` → `ready` → `removing` → `removed`; `making` → `failed`, from where it may be made again; cancelled, from
   * both to `removing`, so that it is never `ready`. A spare:
   * `making` → `spare` → `removing` → `removed`, and from anywhere before `removing`, claimed, to `making` as an instance's.
   */
  readonly state: 'making' | 'spare' | 'ready' | 'failed' | 'removing' | 'removed';
  /** Stands on every object and in the database's comment. Grows when the footprint is made over again. */
  readonly epoch: number;
  readonly timings: Partial<Record<Step, number>>;
  readonly condition: Condition | null;
  readonly approval: Approval | null;
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

/** Lifecycle's word that this footprint may be destroyed: it approved a purge, or cancelled what was not Ready yet. */
export interface Approval {
  /** Of a cancelling: the id of the request. */
  readonly approvalId: string;
  /** RFC 3339; a cancelling does not expire. */
  readonly expiresAt?: string | undefined;
  /** The database that lived, if it is not the first one: a copy of that. */
  readonly database?: string | undefined;
  /** Secrets beside the first one. */
  readonly secrets?: readonly string[] | undefined;
}

export function isSpare({ instanceId }: Footprint): boolean {
  return instanceId === null;
}

/** What the customer asked for. Throws for a spare. */
export function orderOf({ footprintId, placed }: Footprint): Placed {
  if ('specification' in placed) return placed;
  throw new Error(`footprint ${footprintId} is a spare: it has no customer yet`);
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
