import type { InstanceState } from '#contracts/index.js';
import type { ParkedMessage } from '#messaging/index.js';
import type { Transaction } from '#persistence/index.js';
import type { Caller, Role } from '../domain/access.js';
import type { ApiKey } from '../domain/api-key.js';
import type { BackupState, BackupView } from '../domain/backup-view.js';
import type { Capacity, Cell } from '../domain/cell.js';
import type { InstanceView, MakingState, ViewState } from '../domain/instance-view.js';
import type { OperationFact } from '../domain/operation.js';
import type { RestoreView } from '../domain/restore-view.js';
import type { TimelineEntry } from '../domain/timeline.js';

export const instanceOrders = ['created', '-created', 'slug', '-slug'] as const;

export interface InstanceFilter {
  readonly customerId?: string | undefined;
  readonly state?: ViewState | undefined;
  readonly slug?: string | undefined;
  readonly plan?: string | undefined;
  readonly cell?: string | undefined;
  readonly sort: (typeof instanceOrders)[number];
  /** Everything behind this instance. */
  readonly after?: string | undefined;
  readonly limit: number;
}

/** The read model of instances. */
export abstract class InstanceViews {
  /** `tx`: as this transaction sees it. */
  abstract get(instanceId: string, tx?: Transaction): Promise<InstanceView | undefined>;
  abstract list(filter: InstanceFilter): Promise<InstanceView[]>;
  abstract countByState(): Promise<ReadonlyMap<string, number>>;
  /** The instance that this request asked for. */
  abstract byOperation(operationId: string): Promise<InstanceView | undefined>;
  /** The instance that has this slug now, and is not at its end. */
  abstract holderOf(slug: string): Promise<string | undefined>;
  abstract waiting(): Promise<Capacity['waiting']>;
  /**
   * Makes the row or fills in what the change knows; a state that was passed already is not gone back to, and what
   * lifecycle has told stands against all others. Words of lifecycle have to come in their order.
   */
  abstract merge(tx: Transaction, change: ViewChange): Promise<void>;
  /** From now on each row is made anew by the first change that comes, and keeps nothing of what it was. */
  abstract startAnew(tx: Transaction): Promise<void>;
  /** `generation` counts the beginnings; `old`: rows that no change has reached since the last one. */
  abstract progress(): Promise<{ generation: number; startedAt: Date | null; instances: number; old: number }>;
}

export interface BackupFilter {
  readonly state?: BackupState | undefined;
  /** Everything behind this backup. */
  readonly after?: string | undefined;
  readonly limit: number;
}

/** What a fact, or who asks here, says of a backup. */
export type BackupChange = Pick<BackupView, 'backupId' | 'instanceId'> &
  Partial<Omit<BackupView, 'backupId' | 'instanceId' | 'state' | 'notedAt' | Moments>> & {
    readonly [moment in Moments]?: string | null;
  } & {
    /** Of the fact that says it is good, or that it is not: the later one counts. */
    readonly verifiedSequence?: number;
    readonly failedSequence?: number;
  };
type Moments = 'takenAt' | 'expiresAt' | 'verifiedAt' | 'expiredAt';

/** A request that was not taken up. */
export interface Refusal {
  readonly requestId: string;
  readonly code: string;
  readonly message: string;
}

/** The read model of backups. */
export abstract class BackupViews {
  /** `tx`: as this transaction sees it. */
  abstract get(backupId: string, tx?: Transaction): Promise<BackupView | undefined>;
  /** Of an instance, the newest first. */
  abstract of(instanceId: string, filter: BackupFilter): Promise<BackupView[]>;
  /** The one that was made for the end of this instance, last. */
  abstract finalOf(instanceId: string): Promise<BackupView | undefined>;
  /** Makes the row or fills in what the change knows. Facts of one kind have to come in their order. */
  abstract merge(tx: Transaction, change: BackupChange): Promise<void>;
  /** Only where it was asked for here, by this request: a wrong repeat must not touch a good one. */
  abstract refuse(tx: Transaction, backupId: string, refusal: Refusal): Promise<void>;
}

export type RestoreChange = Pick<RestoreView, 'restoreId' | 'instanceId' | 'backupId' | 'mode' | 'state'> &
  Partial<
    Omit<RestoreView, 'restoreId' | 'instanceId' | 'backupId' | 'mode' | 'state' | 'notedAt' | RestoreMoments>
  > & {
    readonly [moment in RestoreMoments]?: string | null;
  };
type RestoreMoments = 'stepSince' | 'endedAt';

/** The read model of restores. */
export abstract class RestoreViews {
  /** `tx`: as this transaction sees it. */
  abstract get(restoreId: string, tx?: Transaction): Promise<RestoreView | undefined>;
  /** The last one that has not ended, and that this instance waits for: it is restored, or to be made by it. */
  abstract underWay(instanceId: string): Promise<RestoreView | undefined>;
  /** Makes the row or fills in what the change knows; a state that was passed already is not gone back to. */
  abstract merge(tx: Transaction, change: RestoreChange): Promise<void>;
  /** @returns the one that is refused; undefined: it was not asked for here by this request, or has been begun. */
  abstract refuse(tx: Transaction, restoreId: string, refusal: Refusal): Promise<RestoreView | undefined>;
}

/** The read model of cells. */
export abstract class Cells {
  /** By name. */
  abstract all(): Promise<Cell[]>;
  abstract put(tx: Transaction, cell: Omit<Cell, 'free' | 'updatedAt'>): Promise<void>;
}

/** What the owners of facts are asked for. */
export abstract class CurrentFacts {
  /** All of them are said again, and handled as if they came for the first time. Part of the caller's transaction. */
  abstract askForAll(tx: Transaction): Promise<void>;
  /** Services whose answer is not complete yet. */
  abstract unanswered(): Promise<string[]>;
}

export type ViewChange = Pick<InstanceView, 'instanceId'> &
  Partial<Omit<InstanceView, 'instanceId' | 'state' | 'lastBackup' | 'createdAt' | 'updatedAt' | 'stateSince'>> & {
    /** As planner and provisioner tell of it. */
    readonly state?: MakingState;
    /** Lifecycle's word; `since`: when it came into this state. */
    readonly lifecycle?: { readonly state: InstanceState; readonly reason: string; readonly since: string };
  };

export type Recorded = Omit<TimelineEntry, 'id'> & {
  readonly instanceId: string;
  /** The operation that it ends, when it names one. */
  readonly ends: string | null;
  /** Of the message that said it: the same fact is recorded once. */
  readonly messageId: string;
  /** Of its publisher, for facts of the same moment. */
  readonly sequence: number;
};

/** What was asked of an instance here, by the id of its request. */
export interface Action {
  readonly operationId: string;
  readonly instanceId: string;
  /** `stop` */
  readonly action: string;
}

/** So that an operation can be looked up before anybody has said something of it. */
export abstract class Actions {
  abstract note(tx: Transaction, action: Action): Promise<void>;
  abstract get(operationId: string): Promise<Action | undefined>;
}

/** A fact in the one order in which all of them became known here; `id` is its place there. */
export type TimelineEvent = TimelineEntry & { readonly instanceId: string; readonly customerId: string | null };

export interface EventFilter {
  readonly instanceId?: string | undefined;
  readonly customerId?: string | undefined;
}

/** Every fact about every instance. Not made again from anything: it is kept as data. */
export abstract class Timeline {
  abstract record(tx: Transaction, fact: Recorded): Promise<void>;
  /** In the order in which they were said; `after`: the id of an entry. */
  abstract of(
    instanceId: string,
    page: { readonly after?: string | undefined; readonly limit: number },
  ): Promise<TimelineEntry[]>;
  /** What was said because of one request or ends it, and about which instance; oldest first. */
  abstract ofOperation(
    operationId: string,
  ): Promise<(TimelineEntry & OperationFact & { readonly instanceId: string })[]>;
  /**
   * Gives what was recorded since the last time its place in the order of events. @returns the last place that is
   * taken. What is at or before it stays as it is for ever: who has read to there has missed nothing.
   */
  abstract putInOrder(): Promise<string>;
  /** In order, what comes after this place and not after `upTo`. */
  abstract events(after: string, upTo: string, filter: EventFilter, limit: number): Promise<TimelineEvent[]>;
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
  /** Undefined: nobody's key, or one that has ended. */
  abstract callerOf(bearer: string): Promise<Caller | undefined>;
  /** Newest first. */
  abstract all(): Promise<ApiKey[]>;
  abstract get(id: string): Promise<ApiKey | undefined>;
  abstract add(tx: Transaction, key: { readonly id: string; readonly bearer: string } & KeyRights): Promise<ApiKey>;
  /** Nobody else ends it before the transaction is over. */
  abstract lock(tx: Transaction, id: string): Promise<ApiKey | undefined>;
  /** Unless it has ended before. */
  abstract end(tx: Transaction, id: string, end: { at: Date; by: string; replacedBy: string | null }): Promise<void>;
}

export interface KeyRights {
  readonly name: string;
  readonly role: Role;
  readonly customerId: string | null;
  readonly createdBy: string;
  readonly endsAt: Date | null;
}

/** What callers repeat. */
export abstract class Repeats {
  /**
   * Notes a request, or waits for the one of the same caller and key to end. @returns `fingerprint` and answer of the
   * one before; undefined: this is the first.
   */
  abstract note(
    tx: Transaction,
    of: { readonly caller: string; readonly key: string; readonly fingerprint: string },
  ): Promise<{ fingerprint: string; answer: unknown } | undefined>;
  abstract answer(tx: Transaction, of: { caller: string; key: string }, answer: unknown): Promise<void>;
}
