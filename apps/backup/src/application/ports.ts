import type { Readable } from 'node:stream';
import type { InstanceState } from '#contracts/index.js';
import type { SnapshotAccess } from '#odoo/index.js';
import type { Transaction } from '#persistence/index.js';
import type { Backup } from '../domain/backup.js';
import type { Instance, MadeFootprint } from '../domain/instance.js';
import type { Restore } from '../domain/restore.js';
import type { StoredFile } from '../domain/stored-file.js';

/** What is known of instances, of footprints made for somebody, and of destructions that were approved. */
export abstract class Instances {
  abstract get(instanceId: string): Promise<Instance | undefined>;
  /** The row stays locked until the transaction ends. */
  abstract lock(tx: Transaction, instanceId: string): Promise<Instance | undefined>;
  abstract save(tx: Transaction, instance: Instance): Promise<void>;
  abstract footprint(footprintId: string): Promise<MadeFootprint | undefined>;
  abstract saveFootprint(tx: Transaction, footprint: MadeFootprint): Promise<void>;
  /** There is none any more. */
  abstract forgetFootprint(tx: Transaction, footprintId: string): Promise<void>;
  abstract purge(approvalId: string): Promise<Purge | undefined>;
  abstract savePurge(tx: Transaction, purge: Purge): Promise<void>;
  /** It has been done, and told. */
  abstract forgetPurge(tx: Transaction, approvalId: string): Promise<void>;
}

/** Whose snapshots are to go, because the volume will. */
export interface Purge {
  readonly approvalId: string;
  readonly instanceId: string;
  readonly footprintId: string;
  readonly namespace: string;
  readonly traceparent: string | null;
  readonly correlationId: string;
}

export abstract class Backups {
  abstract get(backupId: string): Promise<Backup | undefined>;
  /** The row stays locked until the transaction ends. */
  abstract lock(tx: Transaction, backupId: string): Promise<Backup | undefined>;
  abstract save(tx: Transaction, backup: Backup): Promise<void>;
  /**
   * Whether a shard bears one more dump and a cell one more backup, and nobody looks through the contents of its instance;
   * then nobody else begins one there before the transaction ends.
   */
  abstract hasRoom(
    tx: Transaction,
    backup: Backup,
    most: { readonly perCell: number; readonly perShard: number },
  ): Promise<boolean>;
  /** Of those that wait for a place there, the oldest whose cell has one, as many as the shard has; before all others those that somebody waits for. */
  abstract nextWaiting(
    databaseShard: string,
    most: { readonly perCell: number; readonly perShard: number },
  ): Promise<string[]>;
  /** The newest complete one of an instance that nothing is wrong with, and whose contents are locked until then or longer. */
  abstract withContentsLocked(instanceId: string, until: Date): Promise<Backup | undefined>;
  /** Those of an instance that were asked for by hand, and are there or under way. */
  abstract byHand(tx: Transaction, instanceId: string): Promise<Backup[]>;
  /** Those of an instance that have not come to an end. */
  abstract openOf(tx: Transaction, instanceId: string): Promise<Backup[]>;
  /** Those of an instance that are bad, and may be so no more after its next backup; locked until the transaction ends. */
  abstract lockThatMayHeal(tx: Transaction, instanceId: string): Promise<Backup[]>;
}

/** What the schedule knows of an instance that is whole, or worked on. */
export interface Looked {
  readonly instanceId: string;
  readonly plan: string;
  readonly state: InstanceState;
  readonly since: Date;
  /** RFC 3339; null: nobody works on it. */
  readonly quiescedUntil: string | null;
  /** Of its newest backup that is not bad, and of its newest that was fully verified, the moments that they show. */
  readonly savedAt: Date | null;
  readonly provedAt: Date | null;
  /** Of the backup that was asked for last. */
  readonly begunAt: Date | null;
  readonly newest: 'under way' | 'failed' | null;
  /** Absent: nobody has looked before. */
  readonly before?: Noted;
}

/** What a look has found. */
export interface Noted {
  readonly knownSince: Date;
  readonly unsavedSince: Date | null;
  readonly savedAt: Date | null;
  readonly nextAt: Date | null;
  /** From then on more is unsaved, or nothing was proved for longer, than its plan promises. */
  readonly lateAt: Date | null;
  readonly unprovedAt: Date | null;
}

/** When instances are backed up next, and what of them no good backup has. */
export abstract class Schedules {
  /** The next ones by their id. */
  abstract look(after: string | undefined, limit: number): Promise<Looked[]>;
  abstract lookAt(tx: Transaction, instanceId: string): Promise<Looked | undefined>;
  abstract note(tx: Transaction, instanceId: string, noted: Noted): Promise<void>;
  /** The moment that its newest backup shows which was fully verified. */
  abstract provedAt(tx: Transaction, instanceId: string): Promise<Date | null>;
}

/** To be looked for again then. */
export interface HeldContents {
  readonly customerId: string;
  readonly sweepAt: Date;
}

/** Backups whose time is over, and contents that nothing names any more. */
export abstract class Expiries {
  /** Instances that have completed backups, by their id. */
  abstract instances(after: string | undefined, limit: number): Promise<string[]>;
  /** All complete ones of an instance; locked, so that nobody begins to restore one before the transaction ends. */
  abstract lockCompleted(tx: Transaction, instanceId: string): Promise<Backup[]>;
  abstract expiring(instanceId: string): Promise<Backup[]>;
  /** Those in which a proof has read contents that are not what their names say, and nobody has looked at these since. */
  abstract damaged(instanceId: string): Promise<Backup[]>;
  /** The indexes that completed backups name, by what the database knows. */
  abstract indexes(instanceId: string): Promise<string[]>;
  /**
   * From now on no backup of the instance begins, until `endSweep`. @returns false: one is under way, and nothing was
   * changed. Safe to repeat.
   */
  abstract beginSweep(tx: Transaction, instanceId: string): Promise<boolean>;
  abstract endSweep(tx: Transaction, instanceId: string): Promise<void>;
  /** Contents that the store would not give up, and no backup names. */
  abstract heldContents(instanceId: string): Promise<HeldContents | undefined>;
  /** @param held undefined: there are none any more. */
  abstract noteHeldContents(tx: Transaction, instanceId: string, held: HeldContents | undefined): Promise<void>;
  /** Backups and restores that ended so long ago that nobody asks for them any more. @returns how many backups. */
  abstract forget(olderThanDays: number): Promise<number>;
}

/** Of all instances and backups, for whoever watches. */
export interface BackupFigures {
  readonly plans: readonly {
    readonly plan: string;
    readonly instances: number;
    readonly late: number;
    readonly unproved: number;
    /** In seconds. */
    readonly oldestUnsaved: number;
  }[];
  readonly states: ReadonlyMap<string, number>;
  readonly held: number;
  /** Found bad within a day. */
  readonly bad: number;
  /** Instances that are not gone, and whose newest full proof found that they have lost files which their database names. */
  readonly filesMissing: number;
  /** In seconds; 0: there is none. */
  readonly oldest: { readonly waiting: number; readonly expiring: number; readonly restore: number };
  readonly restores: ReadonlyMap<string, number>;
}

/** Who looks at the same moment for long keeps a shard from cleaning up. */
export abstract class ShardSnapshots {
  /** By shard. Throws when one cannot be asked. */
  abstract oldest(): Promise<ReadonlyMap<string, HeldBack>>;
}

/** Since the oldest moment that somebody still looks at; 0: nobody does. */
export interface HeldBack {
  /** 0 also where nobody can tell, as of a replication slot. */
  readonly seconds: number;
  readonly transactions: number;
}

export abstract class Figured {
  abstract figures(): Promise<BackupFigures>;
}

export abstract class Restores {
  abstract get(restoreId: string): Promise<Restore | undefined>;
  abstract lock(tx: Transaction, restoreId: string): Promise<Restore | undefined>;
  abstract save(tx: Transaction, restore: Restore): Promise<void>;
  /** Whether backups of a shard bear one more full proof; then no other begins there before the transaction ends. */
  abstract hasRoomForProof(tx: Transaction, databaseShard: string, most: number): Promise<boolean>;
  /** Of those that wait for a place there so many as there are; before all others those that somebody waits for, then the oldest. */
  abstract nextProofs(databaseShard: string, most: number): Promise<string[]>;
  /** Those of an instance that have not ended, proofs too; locked. */
  abstract lockOpenOf(tx: Transaction, instanceId: string): Promise<Restore[]>;
  abstract lockOfFootprint(tx: Transaction, footprintId: string): Promise<Restore | undefined>;
  /** The clone that has ended and was to be this instance, by what began it: others may have wished for the same id. */
  abstract lockCloneFor(tx: Transaction, instanceId: string, correlationId: string): Promise<Restore | undefined>;
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
  /**
   * From the beginning, whatever was in it. Hopeless when the dump is not whole or has another SHA-256, CORRUPTED then,
   * and where the database is somebody's.
   */
  abstract fill(
    footprint: MadeFootprint,
    dump: Readable,
    sha256: string,
    fence: Fence,
    signal: AbortSignal,
  ): Promise<void>;
  /** What is not as it is to be, in words for a person; nothing: it is equal. */
  abstract differences(footprint: MadeFootprint, wanted: Fingerprint, signal: AbortSignal): Promise<string[]>;
  /** The files that the database names, in Odoo's words: `ab/abcdef…`; each once. Without those that Odoo makes anew by itself. */
  abstract namedFiles(footprint: MadeFootprint, told: (name: string) => void, signal: AbortSignal): Promise<void>;
  /** Another identity, and nothing that writes to or charges anybody; throws when something is left that could. */
  abstract neutralise(footprint: MadeFootprint, fence: Fence): Promise<void>;
  /** Hopeless where a stream is no dump that can be restored. Reads no more of it than that takes. */
  abstract list(dump: Readable, signal: AbortSignal): Promise<void>;
  /** Its tenant may come in; from here on it is as any other. */
  abstract open(footprint: MadeFootprint, fence: Fence): Promise<void>;
}

export abstract class BackupSettings {
  abstract readonly meshName: string;
  /** Whether backups are begun that nobody asks for. */
  abstract readonly schedules: boolean;
  /** How many backups are under way at once in a cell, and how many dumps on a shard. */
  abstract readonly most: { readonly perCell: number; readonly perShard: number };
  /** How many full proofs at once of backups of a shard. */
  abstract readonly proofsPerShard: number;
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

/** The store was asked, and there is no such object. */
export class ObjectMissing extends Error {
  constructor(readonly key: string) {
    super(`the object store has no ${key}`);
    this.name = 'ObjectMissing';
  }
}

/** The store gives it up later, or never. */
export class ObjectLocked extends Error {
  constructor(
    readonly key: string,
    /** Undefined: by a legal hold. */
    readonly until: Date | undefined,
  ) {
    super(`the object store holds ${key} ${until ? `until ${until.toISOString()}` : 'by a legal hold'}`);
    this.name = 'ObjectLocked';
  }
}

/** The store could not be asked, or would not; the message says what to do next. */
export class ObjectStoreError extends Error {
  constructor(
    message: string,
    /** False: it stays so until somebody changes a setting. */
    readonly retryable: boolean,
    options?: ErrorOptions,
  ) {
    super(message, options);
    this.name = 'ObjectStoreError';
  }
}

/** Objects outside of the cluster, by key. Everything throws when the store cannot be asked: that is never "not there". */
export abstract class ObjectStore {
  /**
   * Sends a stream of unknown length in parts, with a bounded part of it in memory. When it rejects (the stream breaks,
   * `signal` is aborted, the fence throws) this has made no object; only where the answer to the very last request was
   * lost, the whole one may be there. The stream is destroyed then. Whoever dies in the middle leaves parts that
   * `removeUnfinished` finds.
   */
  abstract put(key: string, content: Readable, options: PutOptions): Promise<Stored>;
  /** For what is small and whole in memory; with its type and metadata. */
  abstract putSmall(key: string, content: string | Buffer, options: PutOptions): Promise<Stored>;
  /** Throws ObjectMissing. The stream ends in an error when it is not whole; a connection that broke is taken up again. */
  abstract get(key: string, signal?: AbortSignal): Promise<Readable>;
  abstract head(key: string): Promise<ObjectSeen | undefined>;
  /** In the order of their keys, page by page. */
  abstract list(prefix: string): AsyncIterable<ObjectSeen & { readonly key: string }>;
  /**
   * All versions of these objects. What is gone is no error; throws ObjectLocked for what the store will not give up, the one
   * that it holds longest, when all others are gone. What was hidden and is held stays hidden.
   */
  abstract remove(keys: readonly string[], fence?: Fence): Promise<void>;
  /** Nobody finds it there any more. Where the store keeps versions it stays as an older one, whatever locks it. */
  abstract hide(key: string, fence?: Fence): Promise<void>;
  /** What uploads below the prefix have left that nobody has finished. */
  abstract removeUnfinished(prefix: string, fence?: Fence): Promise<number>;
  /** Whether it is to lock anything; where not, `lockUntil` does nothing. */
  abstract readonly locks: boolean;
  /** No earlier than then may it be removed. Throws ObjectMissing. */
  abstract lockUntil(key: string, until: Date, fence?: Fence): Promise<void>;
}

export interface ObjectSeen {
  readonly bytes: number;
  /** When it was written, by the store's own clock, in whole seconds. */
  readonly modified: Date;
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
  | {
      readonly state: 'failed';
      readonly code: string;
      readonly message: string;
      /** Contents of the store that are not what their names say, by SHA-1. */
      readonly damaged?: readonly string[];
    };

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

/** What the operator decided about volumes and Jobs in cells; see config.ts. */
export abstract class CellFilesSettings {
  abstract readonly meshName: string;
  abstract readonly storageClass: string;
  /** None: the default of the cluster. */
  abstract readonly snapshotClass: string | undefined;
  abstract readonly snapshotAccess: SnapshotAccess;
  /** The image of files-worker.ts. */
  abstract readonly filesImage: string;
  /** How long a Job may take, in seconds. */
  abstract readonly jobDeadlineSeconds: number;
  /** What files-worker.ts reads of its environment to reach the object store: names and values. */
  abstract readonly objectStoreAccess: Readonly<Record<string, string>>;
  /** Whether nodes run what they are given. Where they do not, a Job that has ended has done nothing. */
  abstract readonly nodesRun: boolean;
}

/** The attachments of one Odoo in a volume that is mounted here. */
export abstract class Filestore {
  /**
   * All of them, those whose SHA-1 begins with the same two digits at a time, in the order of these; each of these lists by
   * name. Throws FolderMissing: an Odoo has a folder from its first start on, with or without files in it.
   */
  abstract files(): AsyncIterable<readonly StoredFile[]>;
  /** Throws FileVanished. */
  abstract read(name: string): Promise<Readable>;
  /** Whether it is there with the content that its name says. */
  abstract holds(name: string): Promise<boolean>;
  /**
   * It is there when this resolves, whole; when it rejects, it is not. Throws VolumeFull.
   */
  abstract write(name: string, content: Readable): Promise<void>;
  /** Makes the folder, and what was written outlives a fall of the machine. */
  abstract flush(): Promise<void>;
}

export class FolderMissing extends Error {
  override name = 'FolderMissing';
}

/** It was listed, and is gone. */
export class FileVanished extends Error {
  override name = 'FileVanished';
}

export class VolumeFull extends Error {
  override name = 'VolumeFull';
}
