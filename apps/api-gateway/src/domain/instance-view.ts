/**
 * What the gateway knows of an instance: put together from facts, good for answering, never for deciding. Facts of
 * several services come in any order, so each only fills in its own fields, and the state never goes back.
 */
export interface InstanceView {
  readonly instanceId: string;
  readonly customerId: string | null;
  readonly slug: string | null;
  readonly host: string | null;
  readonly url: string | null;
  /** How it was seen to be ready: `http`, a real answer; `pod-condition`, a simulated node said so. */
  readonly verified: string | null;
  readonly plan: string | null;
  readonly odooVersion: string | null;
  readonly state: ViewState;
  readonly reason: string | null;
  readonly message: string | null;
  readonly step: string | null;
  readonly operationId: string;
  readonly footprintId: string | null;
  readonly cell: string | null;
  readonly timings: Record<string, number> | null;
  readonly createdAt: Date;
  readonly updatedAt: Date;
  /** Since when it is in this state for this reason. */
  readonly stateSince: Date;
}

/** In the order in which they mostly follow each other. */
export const viewStates = [
  'requested',
  'refused',
  'waiting',
  'provisioning',
  'failed',
  'running',
  'terminated',
] as const;
export type ViewState = (typeof viewStates)[number];

/** A fact of a lower rank comes too late to say anything about the state. A provisioning that failed may be retried. */
export function rankOf(state: ViewState): number {
  return viewStates.indexOf(state === 'failed' ? 'provisioning' : state);
}
