import type { InstanceRequested, PayloadOf } from '#contracts/index.js';

export type Specification = PayloadOf<typeof InstanceRequested>;

/** A request that was accepted: its host name is held, and it has, or waits for, a place. */
export interface Placement {
  readonly instanceId: string;
  readonly requestId: string;
  readonly specification: Specification;
  /** `waiting` for a place, `placed`, or `ended`: everything was given back. */
  readonly state: 'waiting' | 'placed' | 'ended';
  /** What was lacking when it was looked for last, in one word. */
  readonly waitsFor: string | null;
  /** What it is called; while it is renamed it holds another name too. */
  readonly host: string;
  /** Null where it was placed before this was kept, or is not yet: the one it was requested with. */
  readonly plan: { readonly name: string; readonly version: number } | null;
  readonly footprintId: string | null;
  readonly cell: string | null;
  readonly databaseShard: string | null;
  readonly traceparent: string | null;
  readonly correlationId: string;
}

/** Why nothing is changed about an instance that is not placed. */
export function notPlaced(placement: Placement | undefined): {
  readonly code: 'not-placed';
  readonly fault: 'user' | 'platform';
  readonly message: string;
} {
  const code = 'not-placed';
  // Its end may have come just before.
  if (placement?.state === 'ended') return { code, fault: 'user', message: 'this instance has come to its end' };
  // Who asks has heard of its place from us, or should not ask.
  return { code, fault: 'platform', message: 'this instance has no place' };
}

/** A namespace on the cluster with database shards, room for `places` instances. */
export interface Cell {
  readonly id: string;
  readonly namespace: string;
  /** `opening`: its objects are being made; only an open one takes instances. */
  readonly state: 'opening' | 'open' | 'closed';
  readonly places: number;
  readonly reserved: number;
}

/** The specification of an instance that is made of another one's backup: what is asked for is the other's. */
export function cloneOf(
  source: Specification,
  to: { readonly instanceId: string; readonly slug: string; readonly customerId: string },
  plan: string,
): Specification {
  // Who logs in there, and with which password, its database knows; what it is to somebody else was said of its source.
  return { ...source, ...to, plan, adminPasswordHash: undefined, externalRef: null };
}

/** Whether two requests ask for the same: the order of fields does not matter. */
export function sameWish<T extends object>(a: T, b: T): boolean {
  return canonical(a) === canonical(b);
}

function canonical(value: unknown): string {
  if (Array.isArray(value)) return `[${value.map(canonical).join(',')}]`;
  if (value === null || typeof value !== 'object') return JSON.stringify(value) ?? 'null';
  const fields = Object.entries(value)
    .filter(([, field]) => field !== undefined)
    .sort(([a], [b]) => (a < b ? -1 : 1));
  return `{${fields.map(([name, field]) => `${JSON.stringify(name)}:${canonical(field)}`).join(',')}}`;
}
