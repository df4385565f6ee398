import type { InstanceState } from '#contracts/index.js';

/** What the edge knows of an instance. */
export interface Site {
  readonly host: string;
  readonly state: InstanceState;
  /** Lifecycle's word for why it is in this state; null: it has not spoken yet. */
  readonly reason: string | null;
}

/**
 * Whose word about an instance counts more; a fact that counts less than what was heard before changes nothing, because
 * facts of several services come in any order, and come again. Lifecycle owns the state; until it has spoken, the others
 * tell what they know. What has ended has ended.
 */
export const weights = { placed: 1, ready: 2, lifecycle: 3, ended: 4 } as const;
export type Weight = (typeof weights)[keyof typeof weights];
