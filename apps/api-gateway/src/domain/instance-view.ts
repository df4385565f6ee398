import { type InstanceState, instanceStates } from '#contracts/index.js';
import type { LastBackup } from './backup-view.js';

/**
 * What the gateway knows of an instance: put together from facts, good for answering, never for deciding. Facts of
 * several services come in any order and come again, so each only fills in its own fields.
 *
 * Lifecycle owns the state: from the moment it has spoken its last word counts, and its plan, host and footprint too.
 * Until then the others tell, and among them the state never goes back. While lifecycle calls an instance provisioning,
 * what its making waits for is told by the provisioner. What has ended has ended, whoever says something else.
 */
export interface InstanceView {
  readonly instanceId: string;
  readonly customerId: string | null;
  readonly slug: string | null;
  readonly host: string | null;
  /** Its customer's own, at which it is found beside its host. */
  readonly customDomains: string[];
  readonly url: string | null;
  /** How it was seen to be ready: `http`, a real answer; `pod-condition`, a simulated node said so. */
  readonly verified: string | null;
  readonly plan: string | null;
  readonly odooVersion: string | null;
  readonly image: string | null;
  readonly state: ViewState;
  readonly reason: string | null;
  readonly message: string | null;
  readonly step: string | null;
  /** Where it is to be once nothing is under way any more; null: lifecycle has not spoken yet. */
  readonly desired: InstanceState | null;
  /** What is under way. */
  readonly operation: { readonly operationId: string; readonly operation: string } | null;
  readonly operationId: string;
  readonly footprintId: string | null;
  /** The one it lived in before, as long as it can be switched back. */
  readonly previousFootprintId: string | null;
  readonly cell: string | null;
  readonly timings: Record<string, number> | null;
  readonly lastBackup: LastBackup | null;
  readonly createdAt: Date;
  readonly updatedAt: Date;
  /** Since when it is in this state; where it waits for something, since when for that. */
  readonly stateSince: Date;
}

/** Before it has a place there is nothing of it that lifecycle could speak of. */
export const viewStates = ['requested', 'refused', 'waiting', ...instanceStates] as const;
export type ViewState = (typeof viewStates)[number];

/**
 * What planner and provisioner tell of. A fact of a lower rank comes too late to say anything about the state. That an
 * instance was placed says less than what its provisioner says, and a provisioning that failed may be retried.
 */
const ranks = {
  ...{ requested: 0, refused: 1, waiting: 2, placed: 3 },
  ...{ provisioning: 4, failed: 4, running: 5, terminated: 6 },
} as const;
export type MakingState = keyof typeof ranks;

export function rankOf(state: MakingState): number {
  return ranks[state];
}

/** What it is called. */
export function stateOf(state: MakingState): ViewState {
  return state === 'placed' ? 'provisioning' : state;
}

/** The address at which it was seen to be ready, at the host that it has now. */
export function urlAt(url: string | null, host: string | null): string | null {
  if (url === null || host === null) return url;
  return url.replace(/^([a-z]+:\/\/)[^/:]+/, (_, scheme) => `${scheme}${host}`);
}

/** Below which the mesh gives names. */
export function domainOf(host: string): string {
  return host.slice(host.indexOf('.') + 1);
}

/** The address that another instance beside this one will have; null: nobody can say yet, or it is no name of a host. */
export function urlBeside({ url, host }: Pick<InstanceView, 'url' | 'host'>, slug: string): string | null {
  if (url === null || host === null || !/^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$/.test(slug)) return null;
  return urlAt(url, `${slug}.${domainOf(host)}`);
}
