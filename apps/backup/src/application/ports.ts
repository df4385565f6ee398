import type { Readable } from 'node:stream';
import type { Transaction } from '#persistence/index.js';
import type { Backup } from '../domain/backup.js';
import type { Instance, MadeFootprint } from '../domain/instance.js';
import type { Restore } from '../domain/restore.js';

/** What is known of instances, of footprints made for somebody, and of destructions that were approved. */
export abstract class Instances {
  abstract get(instanceId: string): Promise<Instance | undefined>;
  /** The row stays locked until the transaction ends. */
  abstract lock(tx: Transaction, instanceId: string): Promise<Instance | undefined>;
  abstract save(tx: Transaction, instance: Instance): Promise<void>;
  abstract footprint(footprintId: string): Promise<MadeFootprint | undefined>;
  abstract saveFootprint(tx: Transaction, footprint: MadeFootprint): Promise<void>;
  abstract purge(approvalId: string): Promise<Purge | undefined>;
  abstract savePurge(tx: Transaction, purge: Purge): Promise<void>;
}

/** Whose snapshots are to go, because the volume will. */
export interface Purge {
  readonly approvalId: string;
  readonly instanceId: string;
  readonly footprintId: string;
  readonly namespace: string;
  readonly done: boolean;
  readonly traceparent: string | null;
  readonly correlationId: string;
}

export abstract class Backups {
  abstract get(backupId: string): Promise<Backup | undefined>;
  /** The row stays locked until the transaction ends. */
  abstract lock(tx: Transaction, backupId: string): Promise<Backup | undefined>;
  abstract save(tx: Transaction, backup: Backup): Promise<void>;
  /**
   * Whether a cell and a shard bear one more; then nobody else begins one there before the transaction ends.
   */
  abstract hasRoom(
    tx: Transaction,
    backup: Backup,
    most: { readonly perCell: number; readonly perShard: number },
  ): Promise<boolean>;
  /** Of those that wait for their turn there, the oldest. */
  abstract nextWaiting(tx: Transaction, databaseShard: string): Promise<string | undefined>;
  /** Those of an instance that have not come to an end. */
  abstract openOf(tx: Transaction, instanceId: string): Promise<Backup[]>;
}

export abstract class Restores {
  abstract get(restoreId: string): Promise<Restore | undefined>;
  abstract lock(tx: Transaction, restoreId: string): Promise<Restore | undefined>;
  abstract save(tx: Transaction, restore: Restore): Promise<void>;
  /** Those of an instance that have not ended, proofs too; locked. */
  abstract lockOpenOf(tx: Transaction, instanceId: string): Promise<Restore[]>;
  abstract lockOfFootprint(tx: Transaction, footprintId: string): Promise<Restore | undefined>;
  /** Those that wait for this backup; locked. */
  abstract lockWaitingFor(tx: Transaction, safetyBackupId: string): Promise<Restore[]>;
}

/** Rows of each table, and a checksum of them that no order changes. */
export interface Fingerprint {
  readonly tables: Readonly<Record<string, readonly [rows: number, checksum: string]>>;
  readonly rows: number;
}

/** A tenant's database as it was at one moment, as long as `work` takes. */
export interface HeldDatabase {
  readonly takenAt: Date;
  readonly serverVersion: string;
  readonly odooVersion: string | null;
  /** Installed ones with their version. */
  readonly modules: Readonly<Record<string, string>>;
  /** Ends in an error when the dump is not whole. */
  dump(signal: AbortSignal): Readable;
  fingerprint(): Promise<Fingerprint>;
}

/** Databases that are read. Everything throws when the shard cannot be asked; an Obstacle where it is known why. */
export abstract class TenantSources {
  /**
   * As long as `work` runs Odoo removes no file that the database names. `signal` of `work` is aborted when the moment is
   * lost; then this rejects, whatever `work` says.
   */
  abstract hold<T>(
    source: { readonly databaseShard: string; readonly database: string },
    work: (held: HeldDatabase, signal: AbortSignal) => Promise<T>,
    signal: AbortSignal,
  ): Promise<T>;
}

/** Databases of footprints that were made to be filled. */
export abstract class TenantTargets {
  /** From the beginning, whatever was in it; throws when the dump is not whole, or the database is somebody's. */
  abstract fill(footprint: MadeFootprint, dump: Readable, fence: Fence, signal: AbortSignal): Promise<void>;
  abstract fingerprint(footprint: MadeFootprint): Promise<Fingerprint>;
  /** In Odoo's words, `ab/abcdef…`; sorted. */
  abstract storedFiles(footprint: MadeFootprint): AsyncIterable<string>;
  /** Another identity, and nothing that writes to or charges anybody; throws when something is left that could. */
  abstract neutralise(footprint: MadeFootprint, fence: Fence): Promise<void>;
  /** Throws where a stream is no dump that can be restored; reads all of it. */
  abstract list(dump: Readable, signal: AbortSignal): Promise<void>;
  /** Its tenant may come in; from here on it is as any other. */
  abstract open(footprint: MadeFootprint, fence: Fence): Promise<void>;
}

export abstract class BackupSettings {
  abstract readonly meshName: string;
  /** How many backups are under way at once. */
  abstract readonly most: { readonly perCell: number; readonly perShard: number };
  /** What is looked at for so long, and is not done, is given up. In ms. */
  abstract readonly deadlines: { readonly backup: number; readonly restore: number };
  /** How long an instance stands still for a restore before it runs again as it was. In ms. */
  abstract readonly quiesceMs: number;
}

/**
 * Throws when the lease is lost; looked at before each request that changes something, however long that had to wait.
 */
export type Fence = () => void;

/** Where the data of an instance lies in its cell and on its shard. */
export interface Site {
  readonly footprintId: string;
  readonly cell: string;
  readonly namespace: string;
  readonly databaseShard: string;
  readonly database: string;
  readonly volumeClaim: string;
}

export interface Stored {
  readonly bytes: number;
  /** In hex, of what was sent. */
  readonly sha256: string;
}

/** It is not there, as the store itself says. */
export class ObjectMissing extends Error {
  constructor(readonly key: string) {
    super(`there is no object ${key}`);
    this.name = 'ObjectMissing';
  }
}

/** Objects outside of the cluster, by key. Everything throws when the store cannot be asked: that is never "not there". */
export abstract class ObjectStore {
  /**
   * Sends a stream of unknown length in parts, with a bounded part of it in memory. When it rejects (the stream breaks,
   * `signal` is aborted, the fence throws) there is no such object. Whoever dies in the middle leaves parts that
   * `removeUnfinished` finds.
   */
  abstract put(key: string, content: Readable, options: PutOptions): Promise<Stored>;
  /** For what is small and whole in memory; with its type and metadata. */
  abstract putSmall(key: string, content: string | Buffer, options: PutOptions): Promise<Stored>;
  /** Throws ObjectMissing. */
  abstract get(key: string, signal?: AbortSignal): Promise<Readable>;
  abstract head(key: string): Promise<{ readonly bytes: number } | undefined>;
  /** In the order of their keys, page by page. */
  abstract list(prefix: string): AsyncIterable<{ readonly key: string; readonly bytes: number }>;
  /** All versions of these objects. What is gone is no error; throws ObjectLocked for what the store will not give up. */
  abstract remove(keys: readonly string[], fence?: Fence): Promise<void>;
  /** What uploads below the prefix have left that nobody has finished. */
  abstract removeUnfinished(prefix: string, fence?: Fence): Promise<number>;
  /** No earlier than then may it be removed; nothing where the store knows no locks. */
  abstract lockUntil(key: string, until: Date): Promise<void>;
}

export interface PutOptions {
  readonly contentType?: string;
  readonly fence?: Fence;
  readonly signal?: AbortSignal;
  /** Where the store knows locks: nobody removes it before then. */
  readonly lockedUntil?: Date;
}

/** How a Job in a cell stands. */
export type JobState =
  | { readonly state: 'runs'; readonly message: string }
  | { readonly state: 'done'; readonly files: number; readonly bytes: number }
  /** It ran nothing: its node is a simulated one. */
  | { readonly state: 'simulated' }
  | { readonly state: 'failed'; readonly code: string; readonly message: string };

/**
 * The files of footprints, by snapshots and Jobs in their cell. Each call looks, takes at most the next step, and says how
 * it stands; safe to repeat. Everything throws when the cluster cannot be read; an Obstacle (libs/footprints) where it is
 * known why.
 */
export abstract class CellFiles {
  /** Changes there hurry the job (libs/persistence) of the id that the object is labelled with. Safe to repeat. */
  abstract watch(namespace: string): void;
  /**
   * A snapshot of the footprint's volume, under a name of this backup's and this attempt's: one that is older than the
   * dump beside it would lack files.
   */
  abstract snapshot(site: Site, backupId: string, attempt: string, fence: Fence): Promise<'pending' | 'ready'>;
  /** Copies what is in that snapshot, and not in the store, to `files`; then writes the index. */
  abstract save(site: Site, backupId: string, attempt: string, to: FilesToSave, fence: Fence): Promise<JobState>;
  /** Brings the files that the indexes name into the volume, below `filestore/<database>`, each with its SHA-1 checked. */
  abstract fill(site: Site, id: string, from: FilesToFill, fence: Fence): Promise<JobState>;
  /** Odoo itself opens the database with the files, and ends. */
  abstract load(site: Site, id: string, image: string, secret: string, fence: Fence): Promise<JobState>;
  /** Jobs, pods, claims and the snapshot that were made for this backup, proof or restore. @returns whether all are gone. */
  abstract tidy(site: Pick<Site, 'namespace'>, id: string, fence: Fence): Promise<boolean>;
  /** All snapshots of the footprint's volume. @returns whether all are gone. */
  abstract removeSnapshots(site: Pick<Site, 'namespace' | 'footprintId'>, fence: Fence): Promise<boolean>;
}

export interface FilesToSave {
  /** Below `filestore`, in the volume. */
  readonly folder: string;
  /** The prefix of contents: a file is at `<files><ab>/<sha1>`. */
  readonly files: string;
  /** The key of the index to write. */
  readonly index: string;
}

export interface FilesToFill {
  readonly folder: string;
  readonly files: string;
  /** Keys of indexes; a file that is in several is brought once. */
  readonly indexes: readonly string[];
}
