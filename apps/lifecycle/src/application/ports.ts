import type { Entry } from '#odoo/index.js';
import type { Transaction } from '#persistence/index.js';
import type { Instance } from '../domain/instance.js';
import type { Seen } from '../domain/next-step.js';
import type { Operation } from '../domain/operation.js';
import type { Room } from '../domain/preflight.js';
import type { ReadyFootprint } from '../domain/switching.js';

export abstract class Instances {
  abstract get(instanceId: string): Promise<Instance | undefined>;
  /** The row stays locked until the transaction ends. */
  abstract lock(tx: Transaction, instanceId: string): Promise<Instance | undefined>;
  abstract save(tx: Transaction, instance: Instance): Promise<void>;
  /** Whose former footprint it is, its row locked. */
  abstract lockFormerDweller(tx: Transaction, footprintId: string): Promise<Instance | undefined>;
}

/** Those that were made for a restore, a move, a rebuild or a clone, as they were told of. */
export abstract class Footprints {
  abstract get(tx: Transaction, footprintId: string): Promise<ReadyFootprint | undefined>;
  /** One that is removed stays so, whichever of the two is heard first. */
  abstract noteReady(tx: Transaction, ready: ReadyFootprint['ready']): Promise<void>;
  abstract noteRemoved(tx: Transaction, footprintId: string): Promise<void>;
  /** Those that were removed longer ago than that. @returns how many are gone. */
  abstract forgetRemoved(beforeDays: number): Promise<number>;
}

/** What was asked of instances. Who changes those of one instance holds its row's lock. */
export abstract class Operations {
  abstract get(tx: Transaction, operationId: string): Promise<Operation | undefined>;
  /** Those of an instance that have not ended: the active one first, then those that wait, in their order. */
  abstract open(tx: Transaction | undefined, instanceId: string): Promise<Operation[]>;
  /** Those that ended longer ago than that, and are told of in timelines since. @returns how many are gone. */
  abstract forgetEnded(beforeDays: number): Promise<number>;
  /** The rehearsal that has asked for this restore, whether it has ended or not. */
  abstract rehearsalOf(tx: Transaction, restoreId: string): Promise<Operation | undefined>;
  /** Those that are answered with this one. */
  abstract mergedInto(tx: Transaction, operationId: string): Promise<Operation[]>;
  abstract save(tx: Transaction, operation: Operation): Promise<void>;
  /**
   * Whether no later request of this requester was accepted before; then this one is the latest. Of the same time: yes.
   */
  abstract isLatest(tx: Transaction, instanceId: string, requestedBy: string, at: Date): Promise<boolean>;
}

/**
 * Throws when the lease is lost; looked at before each request that changes something, however long that had to wait.
 */
export type Fence = () => void;

export type CellRoom = Pick<Room, 'quotas' | 'update' | 'own'> & {
  readonly volume: Omit<Room['volume'], 'filesBytes'>;
};
export type ShardRoom = Room['shard'] & Pick<Room['volume'], 'filesBytes'>;

/** The live footprint of an instance. Everything throws when the cluster cannot be read; an Obstacle (libs/footprints) where it is known why. */
export abstract class Cluster {
  /** Changes in this namespace hurry the instance they belong to. Safe to repeat. */
  abstract watch(namespace: string): void;
  abstract observe(instance: Instance): Promise<Omit<Seen, 'site'>>;
  /**
   * Makes the Secret of the live version, with the password of the version before it, or with a new one. One that is there
   * already stays as it is.
   */
  abstract ensureSecret(instance: Instance, password: 'as before' | 'new', fence: Fence): Promise<void>;
  abstract passwordOf(instance: Instance): Promise<string>;
  /** Under the instance's epoch. Ends in a Conflict when somebody has changed it since it was seen. */
  abstract applyWorkload(instance: Instance, replicas: 0 | 1, seen: Seen, fence: Fence): Promise<void>;
  abstract applyRoute(instance: Instance, to: 'instance' | 'edge', seen: Seen, fence: Fence): Promise<void>;
  /** Its Service is there, and what was made of it before it was the instance's is labelled so. */
  abstract takeOver(instance: Instance, fence: Fence): Promise<void>;
  /** Ends in a Conflict when somebody has changed the route since it was seen. */
  abstract removeRoute(instance: Instance, seen: Seen['route'], fence: Fence): Promise<void>;
  /** The one of the live version. Gone already is no error. */
  abstract removeSecret(instance: Instance, fence: Fence): Promise<void>;
  /** Lets the volume have what `live` says; never less than it has. */
  abstract growVolume(instance: Instance, fence: Fence): Promise<void>;
  /**
   * Has the copy updated: `live` says its database and image, `from` the database whose files it shares. Safe to repeat; a
   * Job of this name that is there already stays as it is.
   */
  abstract startUpdate(instance: Instance, from: string, modules: readonly string[], fence: Fence): Promise<void>;
  abstract observeUpdate(instance: Instance): Promise<'absent' | 'runs' | 'succeeded' | 'failed'>;
  /** What update and smoke test have written; undefined: a simulated node ran nothing. */
  abstract logOfUpdate(instance: Instance): Promise<string | undefined>;
  /** @returns whether nothing is left of it, its pods neither. */
  abstract removeUpdates(instance: Instance, fence: Fence): Promise<boolean>;
  /** Secrets of older versions than the last two. */
  abstract dropOldSecrets(instance: Instance, fence: Fence): Promise<void>;
  /** Of its volume, and of its cell for the pod of an update. */
  abstract lookForRoom(instance: Instance): Promise<CellRoom>;
}

/** The footprint's role on its shard. Throws as the cluster does. */
export abstract class TenantShards {
  abstract limitConnections(instance: Instance, connections: number, fence: Fence): Promise<void>;
  /** Resolves when this is the role's password and nobody is connected as it. */
  abstract fence(instance: Instance, password: string, fence: Fence): Promise<void>;
  /** A second database beside `from`, the same as it, of the name that `live` says. */
  abstract copyDatabase(instance: Instance, from: string, fence: Fence): Promise<void>;
  /** Gone already is no error. Never the live one. */
  abstract dropDatabase(instance: Instance, database: string, fence: Fence): Promise<void>;
  /** The live database's Odoo calls itself by the live host from its next look on. */
  abstract setBaseUrl(instance: Instance, fence: Fence, password?: string): Promise<void>;
  /** Of the shard, and what the live database takes there and names of files. */
  abstract lookForRoom(instance: Instance): Promise<ShardRoom>;
  /** Where an Odoo reaches its database. */
  abstract addressOf(instance: Instance): { readonly host: string; readonly port: number };
}

/** The instance as its customer finds it. */
export abstract class Site {
  abstract ask(host: string, signal: AbortSignal): Promise<Exclude<Seen['site'], 'unasked'>>;
}

/** What the operator decided; see config.ts. */
export abstract class LifecycleSettings {
  abstract readonly meshName: string;
  abstract readonly storageClass: string;
  abstract readonly entry: Entry;
  /** The address a customer gets. */
  abstract urlOf(host: string): string;
  abstract readonly routerUrl: string | undefined;
  /** A file with authorities, in PEM, that its certificate may be of beside those that everybody knows. */
  abstract readonly routerAuthorities: string | undefined;
  abstract readonly shards: readonly { readonly name: string; readonly url: string }[];
  /** What databases may take of a shard's disk, in bytes, by the shard's name; of others nobody knows. */
  abstract readonly shardDisks: Readonly<Record<string, number>>;
  /** How long each may take, in ms; time in which nobody could look does not count. */
  abstract readonly deadlines: {
    readonly up: number;
    readonly down: number;
    readonly answer: number;
    readonly backup: number;
    readonly update: number;
  };
  /** How long what was before an upgrade is kept, in ms. */
  abstract readonly keepMs: number;
  /** How long a host that an instance has no more leads to the one that it has, in ms. */
  abstract readonly formerHostMs: number;
  /** How long what is ended can be had back, in ms. */
  abstract readonly graceMs: number;
  /** How long a request for an instance that nobody knows is kept, in ms. */
  abstract readonly unknownForMs: number;
}
