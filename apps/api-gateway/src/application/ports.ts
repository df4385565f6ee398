import type { ParkedMessage } from '#messaging/index.js';
import type { Transaction } from '#persistence/index.js';
import type { InstanceView, ViewState } from '../domain/instance-view.js';

export interface InstanceFilter {
  readonly customerId?: string | undefined;
  readonly state?: ViewState | undefined;
  /** Everything made after this one. */
  readonly after?: string | undefined;
  readonly limit: number;
}

/** The read model of instances. */
export abstract class InstanceViews {
  abstract get(instanceId: string): Promise<InstanceView | undefined>;
  /** In the order of their making. */
  abstract list(filter: InstanceFilter): Promise<InstanceView[]>;
  /** The instance that has this slug now, and is not at its end. */
  abstract holderOf(slug: string): Promise<string | undefined>;
  /** Makes the row or fills in what the change knows; a state that was passed already is not gone back to. */
  abstract merge(tx: Transaction, change: ViewChange): Promise<void>;
}

export type ViewChange = Pick<InstanceView, 'instanceId'> &
  Partial<Omit<InstanceView, 'instanceId' | 'createdAt' | 'updatedAt'>>;

export abstract class ParkedMessages {
  abstract add(message: ParkedMessage): Promise<void>;
}

/** Who may use the API. */
export abstract class ApiKeys {
  abstract isKnown(bearer: string): boolean;
}
