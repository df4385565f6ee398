import { createHash } from 'node:crypto';
import { gzipSync } from 'node:zlib';
import { afterAll, afterEach, beforeAll, beforeEach, expect, test } from '@jest/globals';
import { newId } from '#contracts/index.js';
import { timeSpentAtFirst } from '#footprints/deadline.js';
import { Obstacle } from '#footprints/index.js';
import { Asked, type ConsumeContext, messagingMigrations, Outbox } from '#messaging/index.js';
import { Log } from '#observability/index.js';
import { Database, JobQueue, JobWorker, jobsMigrations, type Reconcile } from '#persistence/index.js';
import { createTestDatabase, type TestDatabase } from '#testing/database.js';
import { waitFor } from '#testing/wait-for.js';
import type { Backup } from '../domain/backup.js';
import { Hopeless } from '../domain/hopeless.js';
import type { Instance } from '../domain/instance.js';
import { keysOf } from '../domain/keys.js';
import { hourMs } from '../domain/policy.js';
import type { Mode, Progress, Restore } from '../domain/restore.js';
import { contentKey, indexLine, sha1Of } from '../domain/stored-file.js';
import { backupMigrations } from '../infrastructure/backup.migration.js';
import { BackupEntity, BackupRepository } from '../infrastructure/backup.repository.js';
import { FiguresRepository } from '../infrastructure/figures.repository.js';
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
import { FillFootprint } from './fill-footprint.js';
import { manifestOf } from './manifest.js';
import { type BackupSettings, CellFiles, type JobState, TenantTargets } from './ports.js';
import { ProveBackup } from './prove-backup.js';
import { ReadBackup } from './read-backup.js';
import { ReconcileProof } from './reconcile-proof.js';
import { ReconcileRestore } from './reconcile-restore.js';
import { RequestRestoreHandler } from './request-restore.handler.js';
import {
  DropCloneHandler,
  HearOfNoFootprintHandler,
  HearOfRefusalHandler,
  NoteAnswer,
} from './restore-facts.handlers.js';
import { StoreInMemory } from './store-in-memory.fixture.js';

/** What a shard and a cell would do, told in a list; each test says what goes wrong there. */
class Targets extends TenantTargets {
  readonly told: string[] = [];
  step: (name: string) => Promise<void> = async () => {};

  async fill() {
    // As the real one does it: what was opened is somebody's.
    if (this.told.includes('open')) throw new Hopeless('DATABASE_IN_USE', 'it is its tenant’s already');
    await this.tell('fill');
  }
  async differences() {
    return [];
  }
  /** What its database names. */
  named: readonly string[] = [];
  async namedFiles(_: unknown, told: (name: string) => void) {
    for (const name of this.named) told(name);
  }
  async neutralise() {
    await this.tell('neutralise');
  }
  async list() {}
  async open() {
    await this.tell('open');
  }
  private async tell(name: string) {
    this.told.push(name);
    await this.step(name);
  }
}

class Files extends CellFiles {
  watch(): void {}
  async snapshot() {
    return 'ready' as const;
  }
  async save() {
    return { state: 'simulated' } as const;
  }
  filled: JobState = { state: 'simulated' };
  async fill() {
    return this.filled;
  }
  async load() {
    return { state: 'simulated' } as const;
  }
  async tidy() {
    return true;
  }
  async removeSnapshots() {
    return true;
  }
}

const log = new Log({ service: 'restore spec', level: 'error' });
const settings: BackupSettings = {
  meshName: 'restore',
  schedules: true,
  most: { perCell: 100, perShard: 100 },
  proofsPerShard: 2,
  // A look speaks for a third of it.
  deadlines: { backup: hourMs, restore: 60 },
  quiesceMs: hourMs,
};

let server: TestDatabase;
let database: Database;
let queue: JobQueue;
let outbox: Outbox;
let instances: InstanceRepository;
let backups: BackupRepository;
let restores: RestoreRepository;
let note: NoteAnswer;
let worker: JobWorker;
let store: StoreInMemory;
let targets: Targets;
let files: Files;

beforeAll(async () => {
  server = await createTestDatabase('backup', 'backup');
  database = await Database.open({
    ...{ url: server.url, schema: 'backup', applicationName: 'reconcile restore spec' },
    entities: [InstanceEntity, FootprintEntity, PurgeEntity, BackupEntity, RestoreEntity],
    migrations: [...jobsMigrations, ...messagingMigrations, ...backupMigrations],
  });
  queue = new JobQueue(database);
  outbox = new Outbox(database, 'backup', new Asked(database, 60_000));
  instances = new InstanceRepository(database);
  backups = new BackupRepository(database);
  restores = new RestoreRepository(database);
  note = new NoteAnswer(restores, queue);
});
beforeEach(() => {
  [store, targets, files] = [new StoreInMemory(), new Targets(), new Files()];
  const begin = new BeginBackup(instances, backups, queue);
  const prove = new ProveBackup(
    backups,
    instances,
    new ScheduleRepository(database),
    new BeginRestore(restores, queue),
    queue,
  );
  const read = new ReadBackup(store, settings);
  const restore = new ReconcileRestore(
    ...([restores, backups, instances, begin, prove] as const),
    new FillFootprint(backups, read, files, targets, log),
    ...([outbox, queue, settings, new BackupMetrics()] as const),
  );
  const proof = new ReconcileProof(backups, read, targets, outbox, queue, new BackupMetrics());
  const reconcilers: Record<string, Reconcile> = {
    restore: (lease) => restore.reconcile(lease),
    proof: (lease) => proof.reconcile(lease),
  };
  worker = new JobWorker(queue, { reconcilers, pollMs: 20, backoff: () => 20 });
  worker.start();
});
afterEach(async () => {
  await worker.drain();
  for (const table of ['job', 'instance', 'backup', 'restore', 'outbox', 'asked'])
    await database.query(`DELETE FROM ${table}`);
});
afterAll(async () => {
  await database?.close();
  await server?.drop();
});

const template = { image: 'odoo:18', version: '18.0', bundle: 'apps', language: 'en_US', database: 'tpl' };
const placeOf = (footprintId: string) => ({
  ...{ footprintId, cell: 'c0', namespace: 'restore-c0', databaseShard: 'local', template },
});
const madeOf = (footprintId: string) => ({
  ...placeOf(footprintId),
  ...{ purpose: 'proof', database: 'd', role: 'r', secret: 's', volumeClaim: 'claim' },
});

const fileNames = (count: number) =>
  Array.from({ length: count }, (_, at) => createHash('sha1').update(`file ${at}`).digest('hex')).map(
    (sha1) => `${sha1.slice(0, 2)}/${sha1}`,
  );
const indexOf = (files: readonly string[]) =>
  gzipSync(
    [...files]
      .sort()
      .map((name) => indexLine({ name, bytes: 7 }))
      .join(''),
  );

/** Of an instance that runs, or did; with the objects that a restore reads. */
async function complete(state: Instance['state'] = 'running', files?: readonly string[]): Promise<Backup> {
  const [instanceId, footprintId, backupId, takenAt] = [newId(), newId(), newId(), new Date()];
  const live = { footprintId, database: 'db', volumeClaim: 'claim', image: 'odoo:18' };
  const placed = placeOf(footprintId);
  const plan = { name: 'trial', version: 1 };
  const customerId = 'c-1';
  await database.transaction((tx) =>
    instances.save(tx, { instanceId, customerId, plan, placed, state, since: takenAt, live, quiesce: null }),
  );
  const keys = keysOf(settings.meshName, { customerId, instanceId, backupId });
  const dump = await store.putSmall(keys.dump('1'), 'a dump');
  const fingerprint = await store.putSmall(keys.fingerprint('1'), JSON.stringify({ tables: {}, rows: 1 }));
  const index = files ? keys.index('1') : null;
  if (index) await store.putSmall(index, indexOf(files!));
  const unwritten: Backup = {
    ...{ backupId, instanceId, customerId, footprintId, why: 'manual', token: null, state: 'completed' },
    source: { ...placed, ...live, template },
    dumped: {
      ...{ key: keys.dump('1'), ...dump, rows: 1, takenAt: takenAt.toISOString(), serverVersion: '15' },
      ...{ odooVersion: '18.0', modules: {}, attempt: '1' },
      fingerprint: { key: keys.fingerprint('1'), sha256: fingerprint.sha256 },
    },
    saved: { index, files: files?.length ?? 0, bytes: 0 },
    ...{ manifest: null, verified: null, fault: null, held: null, requestedAt: takenAt, takenAt, expiresAt: null },
    ...{ condition: null, ...timeSpentAtFirst(takenAt), traceparent: null, correlationId: backupId, requestId: null },
  };
  const text = JSON.stringify(manifestOf(unwritten, keys.files));
  await store.putSmall(keys.manifest, text);
  const backup = { ...unwritten, manifest: createHash('sha256').update(text).digest('hex') };
  await database.transaction((tx) => backups.save(tx, backup));
  return backup;
}

/** One that is at a stage already, with what it knows. */
async function restoring(
  { instanceId, backupId }: Backup,
  mode: Mode,
  { stage = 0, status = 'active', footprintId = newId(), progress = {}, to = null }: Partial<Restore> = {},
): Promise<Restore> {
  const now = new Date();
  const restore: Restore = {
    ...{ restoreId: newId(), instanceId, backupId, mode, to, requestedBy: 'spec', reason: 'a spec' },
    ...{ status, stage, footprintId, progress, startedAt: now, condition: null, ...timeSpentAtFirst(now) },
    ...{ traceparent: null, correlationId: newId(), requestId: null },
  };
  await database.transaction(async (tx) => {
    await restores.save(tx, restore);
    await queue.ask(tx, { kind: 'restore', key: restore.restoreId });
  });
  return restore;
}

/** Its footprint stands. */
const standing = (more: Progress = {}) => {
  const footprintId = newId();
  return { footprintId, stage: 1, progress: { footprintAsked: 'f', footprint: madeOf(footprintId), ...more } };
};

const get = async ({ restoreId }: Restore) => (await restores.get(restoreId))!;
const ended = (restore: Restore) =>
  waitFor('its end', async () => (await get(restore)).status === 'ended', { timeoutMs: 30_000 });
const waits = (restore: Restore, reason: string) =>
  waitFor(`it to wait for ${reason}`, async () => (await get(restore)).condition?.reason === reason);
const said = async (key: string) =>
  (await database.query<{ body: string }>('SELECT body::text FROM outbox WHERE routing_key = $1', [key])).map(
    ({ body }) => JSON.parse(body).data,
  );
const proofsOf = async ({ backupId }: Backup) =>
  await database.query<{ failures: number; waitS: number }>(
    `SELECT (progress->>'failures')::int AS failures,
       extract(epoch FROM started_at - now())::float8 AS "waitS"
     FROM restore WHERE backup_id = $1 AND mode = 'proof' AND status = 'active'`,
    [backupId],
  );
const hear = (work: (ctx: ConsumeContext) => Promise<void>) =>
  database.transaction((tx) =>
    work({ ...outbox.within(tx, {}), message: { id: newId() } as ConsumeContext['message'] }),
  );

test('a database that was opened is not filled again by whoever comes after', async () => {
  const backup = await complete();
  let dies = true;
  targets.step = async (name) => {
    if (name !== 'open' || !dies) return;
    dies = false;
    throw new Obstacle('SHARD_UNAVAILABLE', 'the answer was lost');
  };
  const proof = await restoring(backup, 'proof', standing());
  await ended(proof);
  expect((await get(proof)).progress).toMatchObject({ rows: 1 });
  expect((await get(proof)).progress.failure).toBeUndefined();
  expect(targets.told).toEqual(['fill', 'neutralise', 'open', 'open']);
});

test('what nobody has thought of ends a restore too, and leaves nothing behind', async () => {
  const backup = await complete();
  targets.step = () => Promise.reject(new Error('a fault of ours'));
  const restore = await restoring(backup, 'in-place', standing());
  await ended(restore);
  expect((await get(restore)).progress.failure).toMatchObject({ code: 'UNEXPECTED', fault: 'platform' });
  expect(await said('footprint.removal-requested.v1')).toMatchObject([{ footprintId: restore.footprintId }]);
});

test('an instance that runs again as it was is no longer restored, wherever that is', async () => {
  const backup = await complete();
  const { stage: _, ...there } = standing({ quiesceAsked: 'q', token: 't', released: 'as before' });
  const restore = await restoring(backup, 'database-only', { ...there, stage: 4 });
  await ended(restore);
  expect((await get(restore)).progress.failure).toMatchObject({ code: 'DEADLINE_PASSED' });
});

test('who turns back before it is told that the instance stands still waits for that, and lets it go', async () => {
  const backup = await complete();
  const failure = { code: 'NOT_DONE_IN_TIME', fault: 'platform', message: 'm' } as const;
  const progress = { quiesceAsked: 'q', failure };
  const restore = await restoring(backup, 'files-only', { status: 'undoing', progress });
  await waits(restore, 'QuiesceAsked');
  await hear((ctx) => note.toOperation(ctx, { ...restore, operationId: 'q' }, () => ({ token: 't' })));
  await waits(restore, 'LetGo');
  expect(await said('instance.release-requested.v1')).toMatchObject([{ token: 't' }]);
  await hear((ctx) => note.toHolder(ctx, { ...restore, token: 't', footprintId: newId() }));
  await ended(restore);
  expect(await said('restore.failed.v1')).toMatchObject([{ code: 'NOT_DONE_IN_TIME' }]);
});

test('an instance that is not brought to a stop is held by nobody', async () => {
  const backup = await complete();
  const restore = await restoring(backup, 'files-only', { progress: { quiesceAsked: 'q' } });
  await waits(restore, 'QuiesceAsked');
  const { instanceId } = backup;
  const refused = {
    instanceId,
    operationId: 'q',
    operation: 'quiesce',
    code: 'NO',
    fault: 'user',
    message: 'm',
  } as const;
  await hear((ctx) => new HearOfRefusalHandler(note).handle(refused, ctx));
  await ended(restore);
  expect(await said('restore.failed.v1')).toMatchObject([{ code: 'NO' }]);
  expect(await said('instance.release-requested.v1')).toEqual([]);
});

test('an instance that was switched after all is restored', async () => {
  const backup = await complete();
  const failure = { code: 'NOT_DONE_IN_TIME', fault: 'platform', message: 'm' } as const;
  const there = standing({ quiesceAsked: 'q', token: 't', releaseAsked: 'r', released: 'switched', rows: 1, failure });
  const restore = await restoring(backup, 'in-place', { ...there, stage: 6, status: 'undoing' });
  await ended(restore);
  expect(await said('restore.completed.v1')).toMatchObject([{ footprintId: restore.footprintId }]);
  expect(await said('restore.failed.v1')).toEqual([]);
  expect(await said('footprint.removal-requested.v1')).toEqual([]);
});

test('a file that the instance had lost before is counted, and makes its backup neither bad nor useless', async () => {
  const names = fileNames(40);
  const backup = await complete('running', names.slice(1));
  targets.named = names;
  await ended(await restoring(backup, 'proof', standing()));
  expect(await said('backup.failed.v1')).toEqual([]);
  expect(await said('backup.verified.v1')).toMatchObject([{ depth: 'full', filesMissing: 1 }]);
  expect(await backups.get(backup.backupId)).toMatchObject({ fault: null, verified: { filesMissing: 1 } });
  expect((await new FiguresRepository(database).figures()).filesMissing).toBe(1);

  targets.told.length = 0;
  const asked = { quiesceAsked: 'q', token: 't', safetyBackupId: backup.backupId, releaseAsked: 'r' };
  await ended(await restoring(backup, 'in-place', standing({ ...asked, released: 'switched' })));
  expect(await said('restore.completed.v1')).toMatchObject([{ filesMissing: 1 }]);
});

test.each([
  ['all that its database names', 40, 'FILES_MISSING', (names: string[]) => [names, [] as string[]]],
  ['so many that other files were copied', 40, 'FILES_MISSING', (names: string[]) => [names, names.slice(5)]],
  ['what its index named when it was written', 40, 'CORRUPTED', (names: string[]) => [names.slice(1), names.slice(1)]],
])('a backup that has not %s is bad', async (_, count, code, of) => {
  const names = fileNames(count);
  const [named, indexed] = of(names);
  const shortened = code === 'CORRUPTED';
  const backup = await complete('running', shortened ? names : indexed);
  targets.named = named!;
  if (shortened) await store.putSmall(backup.saved!.index!, indexOf(indexed!));
  await ended(await restoring(backup, 'proof', standing()));
  expect(await said('backup.failed.v1')).toMatchObject([{ code }]);
  expect(await said('backup.verified.v1')).toEqual([]);
  expect(await backups.get(backup.backupId)).toMatchObject({ fault: { code }, verified: null });
});

test.each(['full', 'light'] as const)(
  'what a %s proof has found damaged of the contents is kept with the fault, and somebody looks at it',
  async (depth) => {
    const names = fileNames(3);
    const backup = await complete('running', names);
    const { files: prefix } = keysOf(settings.meshName, backup);
    // None of them is what its name says, but for the last.
    for (const [at, name] of names.entries())
      await store.putSmall(contentKey(prefix, name), `file ${at === 2 ? 2 : 9}`);
    const damaged = names.slice(0, 2).map(sha1Of);
    files.filled = { state: 'failed', code: 'CORRUPTED', message: 'm', damaged };
    if (depth === 'full') await ended(await restoring(backup, 'proof', standing()));
    else await database.transaction((tx) => queue.ask(tx, { kind: 'proof', key: backup.backupId }));
    const fault = await waitFor('the fault', async () => (await backups.get(backup.backupId))?.fault);
    expect(fault).toMatchObject({ code: 'CORRUPTED', damaged: expect.any(Array) });
    expect([...fault!.damaged!].sort()).toEqual([...damaged].sort());
    expect(await database.query(`SELECT key FROM job WHERE kind = 'expired'`)).toEqual([{ key: backup.instanceId }]);
    expect(await said('backup.failed.v1')).toEqual([expect.not.objectContaining({ damaged: expect.anything() })]);
  },
);

test('so many proofs of a shard as may be are under way; who asks for a restore does not wait for them', async () => {
  const backup = await complete();
  const proofs = [await restoring(backup, 'proof'), await restoring(backup, 'proof')];
  for (const one of proofs) await waits(one, 'FootprintAsked');
  const longAgo = new Date(Date.now() - hourMs);
  const [scheduled, final] = [await restoring(backup, 'proof'), await restoring(await complete(), 'proof')];
  for (const one of [scheduled, final]) await waits(one, 'NoPlace');
  await waits(await restoring(backup, 'clone'), 'FootprintAsked');
  // It is older, and somebody waits for the other.
  await database.query(`UPDATE restore SET started_at = $2 WHERE restore_id = $1`, [scheduled.restoreId, longAgo]);
  await database.query(`UPDATE backup SET why = 'final' WHERE backup_id = $1`, [final.backupId]);
  expect(await get(scheduled)).toMatchObject({ spentMs: 0, seenAt: null });

  const failure = { code: 'NO', fault: 'platform', message: 'm' } as const;
  await hear((ctx) => note.note(ctx, proofs[0]!, { failure, footprintAsked: undefined }));
  await waits(final, 'FootprintAsked');
  expect((await get(scheduled)).condition?.reason).toBe('NoPlace');

  await hear((ctx) => note.toFootprint(ctx, final.footprintId, () => ({ failure, footprintAsked: undefined })));
  await waits(scheduled, 'FootprintAsked');
  // How long it waited for its turn is no time that a restore takes.
  expect((await get(scheduled)).startedAt.getTime()).toBeGreaterThan(longAgo.getTime() + hourMs / 2);
});

test('a proof for whose footprint there is no room leaves its place to others', async () => {
  const backup = await complete();
  const [one, two, third] = [await restoring(backup, 'proof'), await restoring(backup, 'proof'), await complete()];
  for (const proof of [one, two]) await waits(proof, 'FootprintAsked');
  await hear((ctx) =>
    note.toFootprint(ctx, one.footprintId, () => ({ noRoomAt: Date.now(), footprintAsked: undefined })),
  );
  await waits(one, 'NoRoom');
  await waits(await restoring(third, 'proof'), 'FootprintAsked');
});

test('a footprint that nobody makes is not asked to be removed', async () => {
  const restore = await restoring(await complete(), 'clone');
  await waits(restore, 'FootprintAsked');
  const refused = { requestId: 'f', footprintId: restore.footprintId, code: 'NOT_PLACED', fault: 'user', message: 'm' };
  await hear((ctx) => new HearOfNoFootprintHandler(note).handle({ ...refused, fault: 'user' }, ctx));
  await ended(restore);
  expect(await said('restore.failed.v1')).toMatchObject([{ code: 'NOT_PLACED' }]);
  expect(await said('footprint.removal-requested.v1')).toEqual([]);
});

test('a proof that could not be brought to its end comes again, later each time, and only as long as it is of use', async () => {
  const failing = (failures?: number) => ({
    progress: { failure: { code: 'NO_ROOM', fault: 'platform', message: 'm' }, ...(failures && { failures }) } as const,
  });
  const backup = await complete();
  await ended(await restoring(backup, 'proof', failing(3)));
  const [again] = await proofsOf(backup);
  expect(again?.failures).toBe(4);
  expect(again?.waitS).toBeGreaterThan(60 * 60);
  expect(again?.waitS).toBeLessThanOrEqual(80 * 60);

  const destroyed = await complete('terminated');
  await ended(await restoring(destroyed, 'proof', failing()));
  expect(await proofsOf(destroyed)).toEqual([]);
});

test('a proof of a backup whose time was over while it waited asks for nothing', async () => {
  const backup = await complete();
  await database.transaction((tx) => backups.save(tx, { ...backup, state: 'expiring' }));
  await ended(await restoring(backup, 'proof'));
  expect(await said('footprint.requested.v1')).toEqual([]);
  expect(await proofsOf(backup)).toEqual([]);
});

test.each(['in-place', 'files-only', 'database-only'] as const)(
  'what a newer Odoo has written is not restored to an older one, %s',
  async (mode) => {
    const backup = await complete();
    const { source, instanceId, backupId } = backup;
    const newer = { ...source, template: { ...template, version: '19.0' } };
    await database.transaction((tx) => backups.save(tx, { ...backup, source: newer }));
    const begin = new BeginBackup(instances, backups, queue);
    const handler = new RequestRestoreHandler(instances, backups, restores, begin, new BeginRestore(restores, queue));
    const asked = { restoreId: newId(), instanceId, backupId, mode, requestedBy: 'spec', reason: 'a spec' };
    await hear((ctx) => handler.handle(asked, ctx));
    expect(await said('restore.refused.v1')).toMatchObject([{ code: 'NEWER_THAN_ODOO', fault: 'user' }]);
    expect(await restores.get(asked.restoreId)).toBeUndefined();
  },
);

test('a clone goes when it was refused its name, and not when somebody else was refused the same', async () => {
  const to = { instanceId: newId(), slug: 'copy', customerId: 'c-1' };
  const lives = await restoring(await complete(), 'clone', { to, status: 'ended' });
  const refusedOne = await restoring(await complete(), 'clone', { to, status: 'ended' });
  const handler = new DropCloneHandler(restores);
  const refused = { instanceId: to.instanceId, code: 'same-id-other-body', fault: 'user', message: 'm' } as const;
  await hear((ctx) => handler.handle({ ...refused, requestId: newId() }, ctx));
  expect(await said('footprint.removal-requested.v1')).toEqual([]);
  await hear((ctx) => handler.handle({ ...refused, requestId: refusedOne.correlationId }, ctx));
  expect(await said('footprint.removal-requested.v1')).toMatchObject([{ footprintId: refusedOne.footprintId }]);
  expect((await get(lives)).progress.removalAsked).toBeUndefined();
});
