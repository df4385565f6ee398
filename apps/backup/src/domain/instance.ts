import type { InstanceState } from '#contracts/index.js';

/** Where a footprint is; it never moves. */
export interface Place {
  readonly footprintId: string;
  readonly cell: string;
  readonly namespace: string;
  readonly databaseShard: string;
  readonly template: Template;
}

/** A footprint that was made for somebody, as its maker says. */
export interface MadeFootprint extends Place {
  readonly purpose: string;
  readonly database: string;
  readonly role: string;
  readonly secret: string;
  readonly volumeClaim: string;
}

export interface Template {
  readonly image: string;
  readonly version: string;
  readonly bundle: string;
  readonly language: string;
  readonly database: string;
}

/** What backup knows of an instance: who it is the customer's, and what lifecycle says of it. */
export interface Instance {
  readonly instanceId: string;
  readonly customerId: string;
  /** Where it was placed first. */
  readonly placed: Place;
  readonly plan: { readonly name: string; readonly version: number };
  /** Null: lifecycle has not said anything yet. */
  readonly state: InstanceState | null;
  readonly since: Date | null;
  readonly live: {
    readonly footprintId: string;
    readonly database: string;
    readonly volumeClaim: string;
    readonly image: string;
  } | null;
  /** Whoever holds it works undisturbed until then. */
  readonly quiesce: { readonly token: string; readonly deadline: string } | null;
}

export interface Refusal {
  readonly code: string;
  readonly fault: 'user' | 'platform' | 'provider';
  readonly message: string;
}

/** Why there is nothing to back up; undefined: there is. */
export function nothingToBackUp({ state, live }: Pick<Instance, 'state' | 'live'>): Refusal | undefined {
  if (state === 'purging' || state === 'terminated')
    return { code: 'IS_TERMINATED', fault: 'user', message: `it is ${state}: there is nothing to back up` };
  if (state === null || live === null || state === 'provisioning')
    return { code: 'NOT_READY', fault: 'user', message: 'it was never Ready: there is nothing to back up' };
  if (state === 'failed')
    return { code: 'NOT_READY', fault: 'user', message: 'its making has failed: there is nothing to back up' };
  return undefined;
}

/** Those that lifecycle or a restore asks for, in the middle of what they do themselves. */
const partsOfAnOperation: ReadonlySet<string> = new Set(['pre-upgrade', 'final', 'safety']);

/**
 * What a backup has to wait for; undefined: nothing. Between `instance.quiesced` and `instance.released` nothing begins
 * but what is asked for with that token; and nobody dumps what is being changed.
 */
export function inTheWay(
  { state, quiesce }: Pick<Instance, 'state' | 'quiesce'>,
  { why, token }: { readonly why: string; readonly token: string | null },
  now: Date,
): { readonly reason: string; readonly message: string } | undefined {
  if (quiesce && quiesce.token !== token && Date.parse(quiesce.deadline) > now.getTime())
    return { reason: 'Quiesced', message: `somebody works on it, until ${quiesce.deadline} at the latest` };
  if (state === 'maintenance' && !partsOfAnOperation.has(why))
    return { reason: 'Maintenance', message: 'it is in maintenance' };
  return undefined;
}
