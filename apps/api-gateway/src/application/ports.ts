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

/** A message that no service could handle, kept for a person to look at. */
export interface ParkedMessage {
  /** The queue it could not be handled from; `mesh.unrouted`: nobody bound its key. */
  readonly queue: string;
  readonly service: string | null;
  readonly messageId: string | null;
  readonly type: string | null;
  readonly routingKey: string;
  readonly publisher: string | null;
  readonly reason: string;
  readonly error: string;
  readonly attempts: number;
  readonly traceparent: string | null;
  /** Whole up to the limit below; the length tells what was cut. */
  readonly body: Buffer;
  readonly bodyBytes: number;
}

export const parkedBodyLimit = 1024 * 1024;

export abstract class ParkedMessages {
  abstract add(message: ParkedMessage): Promise<void>;
}

/** Who may use the API. */
export abstract class ApiKeys {
  abstract isKnown(bearer: string): boolean;
}
