import type { ParkedMessage } from '#messaging/index.js';
import type { Transaction } from '#persistence/index.js';
import type { InstanceView, ViewState } from '../domain/instance-view.js';
import type { TimelineEntry } from '../domain/timeline.js';

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
  abstract countByState(): Promise<ReadonlyMap<string, number>>;
  /** The instance that this request asked for. */
  abstract byOperation(operationId: string): Promise<InstanceView | undefined>;
  /** The instance that has this slug now, and is not at its end. */
  abstract holderOf(slug: string): Promise<string | undefined>;
  /** Makes the row or fills in what the change knows; a state that was passed already is not gone back to. */
  abstract merge(tx: Transaction, change: ViewChange): Promise<void>;
}

export type ViewChange = Pick<InstanceView, 'instanceId'> &
  Partial<Omit<InstanceView, 'instanceId' | 'createdAt' | 'updatedAt' | 'stateSince'>>;

export type Recorded = Omit<TimelineEntry, 'id'> & {
  readonly instanceId: string;
  /** Of its publisher, for facts of the same moment. */
  readonly sequence: number;
};

/** Every fact about every instance. Not made again from anything: it is kept as data. */
export abstract class Timeline {
  abstract record(tx: Transaction, fact: Recorded): Promise<void>;
  /** In the order in which they were said; `after`: the id of an entry. */
  abstract of(
    instanceId: string,
    page: { readonly after?: string | undefined; readonly limit: number },
  ): Promise<TimelineEntry[]>;
  /** What was said because of one request, and about which instance. */
  abstract ofOperation(operationId: string): Promise<(TimelineEntry & { readonly instanceId: string })[]>;
}

export const parkedStatuses = ['parked', 'replayed', 'superseded', 'discarded'] as const;

/** A parked message as a list shows it, without its body. */
export interface ParkedView {
  readonly id: string;
  readonly parkedAt: Date;
  readonly service: string | null;
  readonly queue: string;
  readonly type: string | null;
  readonly messageId: string | null;
  readonly routingKey: string;
  readonly publisher: string | null;
  readonly reason: string;
  readonly error: string;
  readonly attempts: number;
  readonly traceparent: string | null;
  readonly bodyBytes: number;
  /** `superseded`: it was put back, and a later fact had been handled meanwhile, so it changed nothing. */
  readonly status: (typeof parkedStatuses)[number];
  readonly statusSince: Date;
  readonly statusReason: string | null;
  /** The one that was put back and is parked here again. */
  readonly replayOf: string | null;
}

export interface ParkedFilter {
  readonly status?: ParkedView['status'] | undefined;
  readonly service?: string | undefined;
  readonly reason?: string | undefined;
  /** Everything parked before this one. */
  readonly before?: string | undefined;
  readonly limit: number;
}

export abstract class ParkedMessages {
  /** Keeps a message, or notes what became of one that was put back. */
  abstract add(message: ParkedMessage): Promise<void>;
  /** Those of status `parked`, by service; `none`: no service binds their key. */
  abstract countWaiting(): Promise<ReadonlyMap<string, number>>;
  /** Newest first. */
  abstract list(filter: ParkedFilter): Promise<ParkedView[]>;
  abstract get(id: string): Promise<(ParkedView & { readonly body: Buffer }) | undefined>;
  /** Nobody else decides about it until the transaction ends. */
  abstract lock(tx: Transaction, id: string): Promise<(ParkedView & { readonly body: Buffer }) | undefined>;
  abstract mark(tx: Transaction, id: string, status: ParkedView['status'], reason: string | null): Promise<void>;
}

/** The way back for parked messages. */
export abstract class ParkedReplay {
  /** Throws NotReplayable; any other error: it may be tried again. */
  abstract replay(message: ParkedView & { readonly body: Buffer }): Promise<void>;
}

/** Who may use the API. */
export abstract class ApiKeys {
  abstract isKnown(bearer: string): boolean;
}
