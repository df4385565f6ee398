import type { Readable } from 'node:stream';
import { Injectable, type OnApplicationShutdown } from '@nestjs/common';
import { Obstacle, reasonOfShard, Shards } from '#footprints/index.js';
import { footprintNames } from '#odoo/index.js';
import {
  differencesOf,
  dumpDatabase,
  expectPrograms,
  findPostgresPrograms,
  holdSnapshot,
  listDump,
  missingForBackups,
  neutraliseDatabase,
  openRestored,
  type PostgresPrograms,
  readDatabase,
  restoreTenantDatabase,
  type Shard,
  type Tenant,
  TenantDatabaseError,
} from '#tenant-databases/index.js';
import {
  BackupSettings,
  type Fence,
  type Fingerprint,
  type HeldDatabase,
  TenantSources,
  TenantTargets,
} from '../application/ports.js';
import { Hopeless } from '../domain/hopeless.js';
import type { MadeFootprint } from '../domain/instance.js';

interface ShardSettings {
  readonly meshName: string;
  readonly readers: readonly { readonly name: string; readonly url: string }[];
  readonly writers: readonly { readonly name: string; readonly url: string }[];
  /** The folder of pg_dump and pg_restore. */
  readonly programs: string | undefined;
  /** No reading and no filling takes longer, in ms. */
  readonly longestMs: number;
}

/** The shards as two roles see them: one that reads every tenant, and the mesh's own, which fills what is nobody's yet. */
@Injectable()
export class ShardsOfBackup implements OnApplicationShutdown {
  readonly longestMs: number;
  private readonly writers: Shards;
  private readonly readers: ReadonlyMap<string, string>;
  private readonly folder: string | undefined;
  private found: Promise<PostgresPrograms> | undefined;

  constructor({ meshName, readers, writers, programs, longestMs }: ShardSettings) {
    this.writers = new Shards(writers, meshName);
    this.readers = new Map(readers.map(({ name, url }) => [name, url]));
    this.folder = programs;
    this.longestMs = longestMs;
  }

  get names(): readonly string[] {
    return [...this.readers.keys()];
  }

  /** Also those that only one of the two roles was told of. */
  get allNames(): readonly string[] {
    return [...new Set([...this.readers.keys(), ...this.writers.all.map(({ name }) => name)])];
  }

  /** What `work` says, or an Obstacle or a hopeless case where it is known what is in its way. */
  async reading<T>(name: string, work: (readerUrl: string) => Promise<T>): Promise<T> {
    const url = this.readers.get(name);
    if (!url) throw new Obstacle('SHARD_UNKNOWN', `database shard ${name} is not in MESH_SHARD_READER_URLS`);
    try {
      return await work(url);
    } catch (error) {
      throw explained(name, error);
    }
  }

  async writing<T>(name: string, work: (shard: Shard) => Promise<T>): Promise<T> {
    try {
      return await work(this.writers.named(name));
    } catch (error) {
      throw explained(name, error);
    }
  }

  /** What a shard lacks of what backups need, each in words; nothing: it is prepared. Throws as `writing`. */
  async missing(name: string): Promise<string[]> {
    if (!this.readers.has(name)) return ['it is not in MESH_SHARD_READER_URLS'];
    return await this.writing(name, missingForBackups);
  }

  /** Looked for once; where there were none, again. */
  async programs(): Promise<PostgresPrograms> {
    this.found ??= findPostgresPrograms(this.folder);
    try {
      return await this.found;
    } catch (error) {
      this.found = undefined;
      throw error;
    }
  }

  async onApplicationShutdown(): Promise<void> {
    await this.writers.close();
  }
}

const versionsOf = (modules: readonly { readonly name: string; readonly version: string }[]) =>
  Object.fromEntries(modules.map(({ name, version }) => [name, version]));

function explained(name: string, error: unknown): unknown {
  // What has come out of the store is something else than what went in.
  if (error instanceof TenantDatabaseError && error.code === 'DUMP_CHANGED')
    return new Hopeless('CORRUPTED', error.message);
  // It had all of the time that a backup or a step of a restore has: another try has no more.
  if (error instanceof TenantDatabaseError && (!error.retryable || error.code === 'TOOK_TOO_LONG'))
    return new Hopeless(error.code, `database shard ${name}: ${error.message}`);
  const reason = reasonOfShard(error);
  if (!reason) return error;
  return new Obstacle(reason, `database shard ${name}: ${(error as Error).message}`, { cause: error });
}

@Injectable()
export class PostgresSources extends TenantSources {
  constructor(private readonly shards: ShardsOfBackup) {
    super();
  }

  async hold<T>(
    { databaseShard, database }: { readonly databaseShard: string; readonly database: string },
    work: (held: HeldDatabase, signal: AbortSignal) => Promise<T>,
    signal: AbortSignal,
  ): Promise<T> {
    const { longestMs } = this.shards;
    return await this.shards.reading(databaseShard, async (readerUrl) => {
      const programs = await this.shards.programs();
      return await holdSnapshot(
        readerUrl,
        database,
        async (held) => {
          expectPrograms(programs, held.serverMajor);
          const { odooVersion, modules } = await held.modules();
          const { snapshot, takenAt, serverMajor } = held;
          return await work(
            {
              ...{ takenAt, serverVersion: String(serverMajor), odooVersion, modules: versionsOf(modules) },
              dump: (until) => dumpDatabase({ readerUrl, database, snapshot, signal: until, programs }).content,
              fingerprint: () => held.fingerprint(),
            },
            held.signal,
          );
        },
        { longestMs, signal },
      );
    });
  }
}

@Injectable()
export class PostgresTargets extends TenantTargets {
  constructor(
    private readonly shards: ShardsOfBackup,
    private readonly settings: BackupSettings,
  ) {
    super();
  }

  async fill(
    footprint: MadeFootprint,
    dump: Readable,
    sha256: string,
    fence: Fence,
    signal: AbortSignal,
  ): Promise<void> {
    const programs = await this.shards.programs();
    await this.on(footprint, (shard) =>
      restoreTenantDatabase(shard, this.tenantOf(footprint), dump, fence, { signal, programs, sha256 }),
    );
  }

  async differences(footprint: MadeFootprint, wanted: Fingerprint, signal: AbortSignal): Promise<string[]> {
    return await this.read(footprint, signal, async (reading) => differencesOf(wanted, await reading.fingerprint()));
  }

  async namedFiles(footprint: MadeFootprint, told: (name: string) => void, signal: AbortSignal): Promise<void> {
    await this.read(footprint, signal, async (reading) => {
      for await (const { name, rebuilt } of reading.storedFiles()) if (!rebuilt) told(name);
    });
  }

  async neutralise(footprint: MadeFootprint, fence: Fence): Promise<void> {
    await this.on(footprint, (shard) => neutraliseDatabase(shard, this.tenantOf(footprint), {}, fence));
  }

  async list(dump: Readable, signal: AbortSignal): Promise<void> {
    try {
      await listDump(dump, { programs: await this.shards.programs(), signal });
    } catch (error) {
      if (!(error instanceof TenantDatabaseError) || error.retryable) throw error;
      throw new Hopeless(error.code, error.message);
    }
  }

  async open(footprint: MadeFootprint, fence: Fence): Promise<void> {
    await this.on(footprint, (shard) => openRestored(shard, this.tenantOf(footprint), fence));
  }

  private async read<T>(
    { databaseShard, database }: MadeFootprint,
    signal: AbortSignal,
    work: Parameters<typeof readDatabase<T>>[2],
  ): Promise<T> {
    const { longestMs } = this.shards;
    return await this.shards.reading(databaseShard, (url) => readDatabase(url, database, work, { longestMs, signal }));
  }

  private async on<T>({ databaseShard }: MadeFootprint, work: (shard: Shard) => Promise<T>): Promise<T> {
    return await this.shards.writing(databaseShard, work);
  }

  /** A footprint that is filled has the epoch it was made with. */
  private tenantOf({ footprintId }: MadeFootprint): Tenant {
    return { name: footprintNames(this.settings.meshName, footprintId).database, footprintId, epoch: 1 };
  }
}
