import type { InstancePlaced, InstanceState, PayloadOf } from '#contracts/index.js';
import { findPlan, type Plan } from '#odoo/index.js';

export type Placed = PayloadOf<typeof InstancePlaced>;
export type SuspensionReason = 'unpaid' | 'abuse' | 'operator';

/** Where a footprint is, and the template that it was made for. */
export type Place = Pick<Placed, 'cell' | 'namespace' | 'databaseShard' | 'template'>;

/** What its footprint is made of just now: with this, its manifests can be written. */
export interface Live {
  readonly footprintId: string;
  /** Absent: where the planner placed the instance. */
  readonly place?: Place;
  readonly plan: { readonly name: string; readonly version: number };
  readonly image: string;
  readonly database: string;
  /** Of the Secret. A change of odoo.conf is another one. */
  readonly secretVersion: number;
  /** The highest that was ever made or meant: a version is never made twice. */
  readonly lastSecretVersion: number;
  /** How many copies of the database were ever made or meant: a name is never used twice. */
  readonly copies: number;
  /** The largest it was ever asked to have: no volume becomes smaller. */
  readonly storageBytes: number;
  readonly host: string;
  /** What it was found at before; whoever comes there is led to `host`. Absent: it never had another name. */
  readonly formerHosts?: readonly FormerHost[];
  /** Its customer's own, which lead where `host` does. Absent: it never had any. */
  readonly customDomains?: readonly CustomDomain[];
}

export interface CustomDomain {
  readonly host: string;
  /** The request by which the planner holds it: what gives it up names that, so that a later one stands. */
  readonly reservation: string;
}

export interface FormerHost {
  readonly host: string;
  /** RFC 3339: then it is given up. */
  readonly until: string;
}

/**
 * A footprint that the instance lived in before it was switched to another one, its data as they were left; or one in which
 * an upgrade was rehearsed.
 */
export interface FormerFootprint {
  readonly live: Live;
  /** What was before the last upgrade there. */
  readonly kept: Instance['kept'];
  /** RFC 3339: then its removal is asked for. */
  readonly until: string;
  /** Null: until then it can be switched back to. `due`: it cannot, because its removal was refused, or nobody lived there. */
  readonly removal: 'asked' | 'due' | null;
}

/** A dated end. */
export interface Termination {
  /** RFC 3339: not before then. */
  readonly purgeNotBefore: string;
  /** Of the last one that was asked for. */
  readonly finalBackupId: string | null;
  /** Restored somewhere and read back from off-site: without it nothing is destroyed. */
  readonly verifiedBackupId: string | null;
  /** The latest; another one is given when it has run out before anybody heard of it. */
  readonly approval: { readonly approvalId: string; readonly expiresAt: string } | null;
  /** Of the request. */
  readonly traceparent: string | null;
  readonly correlationId: string;
}

/** Who holds an instance still, and until when. */
export interface Quiesce {
  readonly token: string;
  readonly purpose: string;
  /** RFC 3339. */
  readonly deadline: string;
  /** Of the request. */
  readonly operationId: string;
  /** Whether it ran before, and is to run again. */
  readonly ran: boolean;
}

export interface Instance {
  readonly instanceId: string;
  /** As the planner decided; what changed since stands in `live`. */
  readonly placed: Placed;
  readonly state: InstanceState;
  readonly previous: InstanceState | null;
  /** A word: why it is in this state. */
  readonly reason: string;
  /** When it came into this state. */
  readonly since: Date;
  /** What its owner wants of it where nothing else stands in the way. */
  readonly ownerWants: 'running' | 'stopped';
  readonly suspension: { readonly why: SuspensionReason } | null;
  readonly termination: Termination | null;
  readonly quiesce: Quiesce | null;
  readonly live: Live;
  /** What it was before its last upgrade, untouched since; dropped when its time is over. */
  readonly kept: { readonly database: string; readonly image: string; readonly until: string } | null;
  /** Those that it was switched from and that are not gone yet, the latest last. */
  readonly formerFootprints: readonly FormerFootprint[];
  /** Stands on what lifecycle applies. Grows with each change that is applied, so that an older one is known as such. */
  readonly epoch: number;
  /** From then on it is lifecycle that writes its footprint. */
  readonly everReady: boolean;
  readonly traceparent: string | null;
  readonly correlationId: string;
}

/** As it is born with its place. */
export function newborn(
  placed: Placed,
  now: Date,
  cause: { readonly traceparent: string | null; readonly correlationId: string },
  first: { readonly database: string },
): Instance {
  const plan = planOf(placed.plan);
  return {
    instanceId: placed.instanceId,
    placed,
    state: 'provisioning',
    previous: null,
    reason: 'requested',
    since: now,
    ownerWants: 'running',
    suspension: null,
    termination: null,
    quiesce: null,
    live: {
      footprintId: placed.footprintId,
      plan: placed.plan,
      image: placed.template.image,
      database: first.database,
      secretVersion: 1,
      lastSecretVersion: 1,
      copies: 0,
      storageBytes: plan.storageBytes,
      host: placed.host,
    },
    kept: null,
    formerFootprints: [],
    epoch: 1,
    everReady: false,
    ...cause,
  };
}

export function placeOf({ placed, live }: Pick<Instance, 'placed' | 'live'>): Place {
  return live.place ?? placed;
}

/** The one that it was switched from last, as long as it can be switched back. */
export function previousFootprintOf({ formerFootprints }: Pick<Instance, 'formerFootprints'>): string | undefined {
  return formerFootprints.findLast(({ removal }) => removal === null)?.live.footprintId;
}

/** Whether it is found at this name below the mesh's domain. */
export function isNamed(host: string, slug: string): boolean {
  return host.slice(0, host.indexOf('.')) === slug;
}

/** Below which the mesh gives names. */
export function domainOf({ host }: Pick<Live, 'host'>): string {
  return host.slice(host.indexOf('.') + 1);
}

/** Whether this is a name of it, by which it is found or was. */
export function hasHost({ host, formerHosts = [], customDomains = [] }: Live, name: string): boolean {
  return host === name || [...formerHosts, ...customDomains].some((one) => one.host === name);
}

/** All at which it answers, the one that it calls itself by first. */
export function hostsOf({ host, customDomains = [] }: Live): readonly string[] {
  return [host, ...customDomains.map((one) => one.host)];
}

/** With these domains and no others. @param reservation of those that it had not. */
export function withCustomDomains(live: Live, hosts: readonly string[], reservation: string): Live {
  const known = live.customDomains ?? [];
  const customDomains = hosts.map((host) => known.find((one) => one.host === host) ?? { host, reservation });
  return { ...live, customDomains };
}

/** Found at another host from here on; of a name that it had before it is a former one no more. */
export function atHost(live: Live, host: string, until: string): Live {
  const { formerHosts = [] } = withoutFormerHost(live, host);
  return { ...live, host, formerHosts: [...formerHosts, { host: live.host, until }] };
}

export function withoutFormerHost(live: Live, host: string): Live {
  return { ...live, formerHosts: (live.formerHosts ?? []).filter((former) => former.host !== host) };
}

/** The plan in the version that was accepted: later numbers are for later instances. */
export function planOf({ name, version }: { readonly name: string; readonly version: number }): Plan {
  const plan = findPlan(name, version);
  if (!plan) throw new Error(`plan ${name} in version ${version} is not known to this release of lifecycle`);
  return plan;
}
