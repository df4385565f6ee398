import { Readable } from 'node:stream';
import { afterAll, afterEach, beforeAll, expect, test } from '@jest/globals';
import { newId } from '#contracts/index.js';
import { Obstacle } from '#footprints/index.js';
import { Asked, messagingMigrations, Outbox } from '#messaging/index.js';
import { Database, JobQueue, JobWorker, jobsMigrations } from '#persistence/index.js';
import { createTestDatabase, type TestDatabase } from '#testing/database.js';
import { waitFor } from '#testing/wait-for.js';
import type { Why } from '../domain/backup.js';
import type { Instance } from '../domain/instance.js';
import { hourMs } from '../domain/policy.js';
import { backupMigrations } from '../infrastructure/backup.migration.js';
import { BackupEntity, BackupRepository } from '../infrastructure/backup.repository.js';
import {
  FootprintEntity,
  InstanceEntity,
  InstanceRepository,
  PurgeEntity,
} from '../infrastructure/instance.repository.js';
import { RestoreEntity, RestoreRepository } from '../infrastructure/restore.repository.js';
import { ScheduleRepository } from '../infrastructure/schedule.repository.js';
import { BackupMetrics } from './backup-metrics.js';
import { BeginBackup } from './begin-backup.js';
import { BeginRestore } from './begin-restore.js';
import { LockContents } from './lock-contents.js';
import {
  type BackupSettings,
  CellFiles,
  type HeldDatabase,
  ObjectStoreError,
  type Site,
  TenantSources,
} from './ports.js';
import { ProveBackup } from './prove-backup.js';
import { ReconcileBackup } from './reconcile-backup.js';
import { StoreInMemory } from './store-in-memory.fixture.js';

/** What a shard and a cell would do, told in a list; each test says what goes wrong there. */
class Sources extends TenantSources {
  readonly dumped: string[] = [];
  whileHeld: (database: string) => Promise<void> = async () => {};

  async hold<T>(
    { database }: { readonly database: string },
    work: (held: HeldDatabase, signal: AbortSignal) => Promise<T>,
    signal: AbortSignal,
  ): Promise<T> {
    await this.whileHeld(database);
    const result = await work(
      {
        ...{ takenAt: new Date(), serverVersion: '15', odooVersion: '18.0', modules: {} },
        dump: () => Readable.from([`dump of ${database}`]),
        fingerprint: async () => ({ tables: {}, rows: 1 }),
      },
      signal,
    );
    this.dumped.push(database);
    return result;
  }
}

class Files extends CellFiles {
  readonly tidied: string[] = [];
  watch(): void {}
  async snapshot() {
    return 'ready' as const;
  }
  async save() {
    return { state: 'simulated' } as const;
  }
  async fill() {
    return { state: 'simulated' } as const;
  }
  async load() {
    return { state: 'simulated' } as const;
  }
  async tidy({ namespace }: Pick<Site, 'namespace'>): Promise<boolean> {
    this.tidied.push(namespace);
    return true;
  }
  async removeSnapshots(): Promise<boolean> {
    return true;
  }
}

const settings: BackupSettings = {
  meshName: 'backup',
  schedules: true,
  most: { perCell: 100, perShard: 100 },
  proofsPerShard: 2,
  // A look speaks for a third of it.
  deadlines: { backup: 60, restore: hourMs },
  quiesceMs: hourMs,
};

let server: TestDatabase;
let database: Database;
let queue: JobQueue;
let instances: InstanceRepository;
let backups: BackupRepository;
let begin: BeginBackup;
let worker: JobWorker;
let store: StoreInMemory;
let sources: Sources;
let files: Files;
let restores: RestoreRepository;
let outbox: Outbox;

beforeAll(async () => {
  server = await createTestDatabase('backup', 'backup');
  database = await Database.open({
    ...{ url: server.url, schema: 'backup', applicationName: 'reconcile backup spec' },
    entities: [InstanceEntity, FootprintEntity, PurgeEntity, BackupEntity, RestoreEntity],
    migrations: [...jobsMigrations, ...messagingMigrations, ...backupMigrations],
  });
  queue = new JobQueue(database);
  outbox = new Outbox(database, 'backup', new Asked(database, 60_000));
  instances = new InstanceRepository(database);
  backups = new BackupRepository(database);
  restores = new RestoreRepository(database);
  begin = new BeginBackup(instances, backups, queue);
});
afterEach(async () => {
  await worker.drain();
  for (const table of ['job', 'instance', 'footprint', 'backup', 'restore'])
    await database.query(`DELETE FROM ${table}`);
});
afterAll(async () => {
  await database?.close();
  await server?.drop();
});

function work(): void {
  [store, sources, files] = [new StoreInMemory(), new Sources(), new Files()];
  const beginRestore = new BeginRestore(restores, queue);
  const prove = new ProveBackup(backups, instances, new ScheduleRepository(database), beginRestore, queue);
  const backup = new ReconcileBackup(
    ...([backups, instances, restores, begin, sources, store, files] as const),
    ...([new LockContents(store, backups, settings), prove, outbox, queue] as const),
    ...([settings, new BackupMetrics()] as const),
  );
  const reconcilers = { backup: (lease: Parameters<typeof backup.reconcile>[0]) => backup.reconcile(lease) };
  worker = new JobWorker(queue, { reconcilers, pollMs: 20, backoff: () => 20 });
}

const template = { image: 'odoo:18', version: '18.0', bundle: 'apps', language: 'en_US', database: 'tpl' };
const placeOf = (footprintId: string, cell: string) => ({
  ...{ footprintId, cell, namespace: `backup-${cell}`, databaseShard: 'local', template },
});
const quiesced = (token: string) => ({ token, deadline: new Date(Date.now() + hourMs).toISOString() });

async function instance(change: Partial<Instance> = {}): Promise<Instance> {
  const footprintId = newId();
  const one: Instance = {
    ...{ instanceId: newId(), customerId: 'c-1', plan: { name: 'trial', version: 1 }, state: 'running' },
    placed: placeOf(footprintId, 'c0'),
    live: { footprintId, database: 'first', volumeClaim: 'claim', image: 'odoo:18' },
    ...{ since: new Date(), quiesce: null },
    ...change,
  };
  await save(one);
  return one;
}

const save = (one: Instance) => database.transaction((tx) => instances.save(tx, one));

async function asked(of: Instance, why: Why = 'manual'): Promise<string> {
  const backupId = newId();
  const cause = { traceparent: null, correlationId: newId(), requestId: null };
  await database.transaction((tx) => begin.of(tx, of, { backupId, why, token: null, cause }));
  return backupId;
}

async function switchTo(of: Instance): Promise<Instance> {
  const footprintId = newId();
  const names = { purpose: 'restore', role: 'r', secret: 's', database: 'second', volumeClaim: 'claim' };
  await database.transaction((tx) => instances.saveFootprint(tx, { ...placeOf(footprintId, 'c1'), ...names }));
  const there: Instance = { ...of, live: { ...of.live!, footprintId, database: 'second' }, quiesce: null };
  await save(there);
  return there;
}

const become = (backupId: string, state: string) =>
  waitFor(`the backup to be ${state}`, async () => (await backups.get(backupId))?.state === state);
const conditionOf = async (backupId: string) => (await backups.get(backupId))?.condition?.reason;

test('a backup that waited is of where the instance lives when its turn comes', async () => {
  const of = await instance({ quiesce: quiesced('of a restore') });
  const backupId = await asked(of);
  work();
  worker.start();
  await waitFor('it to wait', async () => (await conditionOf(backupId)) === 'Quiesced');
  const { live } = await switchTo(of);
  await queue.hurry('backup', backupId);
  await become(backupId, 'completed');
  expect(sources.dumped).toEqual(['second']);
  const { footprintId, source } = (await backups.get(backupId))!;
  expect([footprintId, source.footprintId, source.cell]).toEqual([live!.footprintId, live!.footprintId, 'c1']);
});

test('a dump that was ended because somebody works on the instance waits until that is over, and is of where it lives then', async () => {
  const of = await instance();
  const backupId = await asked(of);
  work();
  sources.whileHeld = async (name) => {
    if (name !== 'first') return;
    await save({ ...of, quiesce: quiesced('of an upgrade') });
    throw new Obstacle('SNAPSHOT_LOST', 'the connection was ended');
  };
  worker.start();
  await waitFor('it to wait', async () => (await conditionOf(backupId)) === 'Quiesced');
  expect((await backups.get(backupId))?.state).toBe('waiting');
  // What was begun for it is gone from where it will not be looked for.
  expect(files.tidied).toEqual(['backup-c0']);
  await switchTo(of);
  await queue.hurry('backup', backupId);
  await become(backupId, 'completed');
  expect(sources.dumped).toEqual(['second']);
});

test('a dump whose instance was destroyed meanwhile is not tried for hours', async () => {
  const of = await instance();
  const backupId = await asked(of);
  work();
  sources.whileHeld = async () => {
    await save({ ...of, state: 'terminated' });
    throw new Obstacle('SNAPSHOT_LOST', 'the connection was ended');
  };
  worker.start();
  await become(backupId, 'failed');
  expect((await backups.get(backupId))?.fault?.code).toBe('IS_TERMINATED');
});

test.each([
  ['what nobody has thought of', new Error('a fault of ours, about “a row of the customer’s”'), 'UNEXPECTED'],
  ['a store that refuses', new ObjectStoreError('the key is wrong', false), 'STORE_REFUSES'],
])('%s gives up its place in the end, and says why', async (_, error, code) => {
  const backupId = await asked(await instance());
  work();
  sources.whileHeld = () => Promise.reject(error);
  worker.start();
  await become(backupId, 'failed');
  const { fault } = (await backups.get(backupId))!;
  expect(fault?.code).toBe(code);
  expect(fault?.message).not.toContain('customer');
});

test('a store that does not answer is waited for, and who looks is told', async () => {
  const backupId = await asked(await instance());
  work();
  let isBack = false;
  sources.whileHeld = async () => {
    if (!isBack) throw new ObjectStoreError('no answer', true);
  };
  worker.start();
  await waitFor('it to be told', async () => (await conditionOf(backupId)) === 'STORE_UNAVAILABLE');
  isBack = true;
  await become(backupId, 'completed');
});

test('who is waited for comes before what nobody asked for', async () => {
  const of = await instance();
  await asked(of, 'scheduled');
  const manual = await asked(of, 'safety');
  work();
  expect(await backups.nextWaiting('local', { perCell: 1, perShard: 1 })).toEqual([manual]);
});

test('a backup that was bad for a content is restored once more when the next one may have brought that again', async () => {
  const of = await instance();
  work();
  worker.start();
  const bad = async (mayHeal: boolean) => {
    const backupId = await asked(of);
    await become(backupId, 'completed');
    const fault = { code: 'CORRUPTED', message: 'not what was written', ...(mayHeal && { mayHeal: true as const }) };
    const backup = (await backups.get(backupId))!;
    await database.transaction((tx) => backups.save(tx, { ...backup, fault }));
    return backupId;
  };
  const hopeless = await bad(false);
  const [one, other] = [await bad(true), await bad(true)];
  await become(await asked(of), 'completed');
  await become(await asked(of), 'completed');
  const proofs = await database.query<{ backupId: string }>(
    `SELECT backup_id AS "backupId" FROM restore WHERE mode = 'proof' ORDER BY 1`,
  );
  expect(proofs.map(({ backupId }) => backupId)).toEqual([one, other].sort());
  // Until that has been seen nobody may count on it.
  for (const backupId of [hopeless, one, other])
    expect((await backups.get(backupId))?.fault).toEqual({ code: 'CORRUPTED', message: 'not what was written' });
});
