import { createHash } from 'node:crypto';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { Readable, Writable } from 'node:stream';
import { text } from 'node:stream/consumers';
import { gzipSync } from 'node:zlib';
import { GetObjectRetentionCommand, ListObjectVersionsCommand, S3Client } from '@aws-sdk/client-s3';
import { afterAll, afterEach, beforeAll, describe, expect, test } from '@jest/globals';
import { newId } from '#contracts/index.js';
import { timeSpentAtFirst } from '#footprints/deadline.js';
import { Asked, type ConsumeContext, messagingMigrations, Outbox } from '#messaging/index.js';
import { Log } from '#observability/index.js';
import { Database, JobQueue, JobWorker, jobsMigrations, type Reconcile } from '#persistence/index.js';
import { createTestBucket, type TestBucket } from '#testing/bucket.js';
import { createTestDatabase, type TestDatabase } from '#testing/database.js';
import { waitFor } from '#testing/wait-for.js';
import type { Backup } from '../domain/backup.js';
import type { Instance } from '../domain/instance.js';
import { keysOf } from '../domain/keys.js';
import { dayMs, hourMs } from '../domain/policy.js';
import { contentKey, indexLine } from '../domain/stored-file.js';
import { backupMigrations } from '../infrastructure/backup.migration.js';
import { BackupEntity, BackupRepository } from '../infrastructure/backup.repository.js';
import { ExpiryRepository } from '../infrastructure/expiry.repository.js';
import { FiguresRepository } from '../infrastructure/figures.repository.js';
import { FilestoreFolder } from '../infrastructure/filestore-folder.js';
import {
  FootprintEntity,
  InstanceEntity,
  InstanceRepository,
  PurgeEntity,
} from '../infrastructure/instance.repository.js';
import { RestoreEntity, RestoreRepository } from '../infrastructure/restore.repository.js';
import { S3ObjectStore } from '../infrastructure/s3-object-store.js';
import { ScheduleRepository } from '../infrastructure/schedule.repository.js';
import { BeginBackup } from './begin-backup.js';
import { BeginRestore } from './begin-restore.js';
import { ExpireBackups } from './expire-backups.js';
import { HoldBackupHandler } from './hold-backup.handlers.js';
import { LockContents } from './lock-contents.js';
import { type BackupSettings, type Fence, ObjectMissing, ObjectStoreError } from './ports.js';
import { ReconcileExpired } from './reconcile-expired.js';
import { RequestBackupHandler } from './request-backup.handler.js';
import { saveFiles } from './save-files.js';
import { ScheduleBackups } from './schedule-backups.js';
import { SetAsideDamaged } from './set-aside-damaged.js';
import { SweepContents } from './sweep-contents.js';

/** One that can be made to die: before the request that would be the next one to remove or hide something. */
class Store extends S3ObjectStore {
  /** In the order in which they were asked for. */
  readonly locked: string[] = [];
  removals = Number.POSITIVE_INFINITY;
  /** What comes of a content, instead of it. */
  answer: (content: Readable, key: string) => Readable = (content) => content;

  override async get(key: string, signal?: AbortSignal): Promise<Readable> {
    return this.answer(await super.get(key, signal), key);
  }

  override async lockUntil(key: string, until: Date, fence?: Fence): Promise<void> {
    this.locked.push(key);
    await super.lockUntil(key, until, fence);
  }

  override async hide(key: string, fence?: Fence): Promise<void> {
    if (this.removals-- <= 0) throw new Error('died here');
    await super.hide(key, fence);
  }

  override async remove(keys: readonly string[], fence?: Fence): Promise<void> {
    if (this.removals-- <= 0) throw new Error('died here');
    await super.remove(keys, fence);
  }
}

const settings: BackupSettings = {
  meshName: 'keep',
  schedules: true,
  most: { perCell: 100, perShard: 100 },
  proofsPerShard: 2,
  deadlines: { backup: hourMs, restore: hourMs },
  quiesceMs: hourMs,
};
const log = new Log({ service: 'keep backups spec', destination: new Writable({ write: (_, __, done) => done() }) });

let server: TestDatabase;
let bucket: TestBucket;
let store: Store;
/** As the others have it, where locks are to be had. */
let locking: Store;
let database: Database;
let queue: JobQueue;
let outbox: Outbox;
let instances: InstanceRepository;
let backups: BackupRepository;
let restores: RestoreRepository;
let expiries: ExpiryRepository;
let reconcilers: Record<'schedule' | 'expiry' | 'expired', Reconcile>;
let workers: JobWorker[] = [];

beforeAll(async () => {
  [server, bucket] = await Promise.all([createTestDatabase('backup', 'backup'), createTestBucket('keep')]);
  store = new Store({ ...bucket, encryption: 'none', objectLock: 'none', deadlineMs: 30_000 });
  locking = new Store({ ...bucket, encryption: 'none', objectLock: 'governance', deadlineMs: 30_000 });
  database = await Database.open({
    ...{ url: server.url, schema: 'backup', applicationName: 'keep backups spec' },
    entities: [InstanceEntity, FootprintEntity, PurgeEntity, BackupEntity, RestoreEntity],
    migrations: [...jobsMigrations, ...messagingMigrations, ...backupMigrations],
  });
  queue = new JobQueue(database);
  outbox = new Outbox(database, 'backup', new Asked(database, 60_000));
  instances = new InstanceRepository(database);
  backups = new BackupRepository(database);
  restores = new RestoreRepository(database);
  expiries = new ExpiryRepository(database);
  const begin = new BeginBackup(instances, backups, queue);
  const schedule = new ScheduleBackups(instances, new ScheduleRepository(database), begin, outbox, settings, log);
  const expire = new ExpireBackups(expiries, instances, backups, restores, outbox, queue);
  const contents = new SweepContents(store, expiries, settings);
  const damaged = new SetAsideDamaged(store, settings, log);
  const expired = new ReconcileExpired(expiries, backups, store, contents, damaged, outbox, settings, log);
  reconcilers = {
    schedule: (lease) => schedule.reconcile(lease),
    expiry: (lease) => expire.reconcile(lease),
    expired: (lease) => expired.reconcile(lease),
  };
});
afterEach(async () => {
  await Promise.all(workers.map((one) => one.drain()));
  workers = [];
  store.removals = Number.POSITIVE_INFINITY;
  store.answer = (content) => content;
  for (const table of ['job', 'instance', 'schedule', 'backup', 'restore', 'sweep', 'held_contents'])
    await database.query(`DELETE FROM ${table}`);
});
afterAll(async () => {
  for (const one of [store, locking]) one?.close();
  await database?.close();
  await Promise.all([server?.drop(), bucket?.drop()]);
});

function work(kinds: readonly (keyof typeof reconcilers)[], count = 1): void {
  const some = Object.fromEntries(kinds.map((kind) => [kind, reconcilers[kind]]));
  for (let number = 0; number < count; number += 1) {
    const worker = new JobWorker(queue, { reconcilers: some, pollMs: 20, backoff: () => 20 });
    worker.start();
    workers.push(worker);
  }
}

const ask = (kind: string, key = 'all') => database.transaction((tx) => queue.ask(tx, { kind, key }));

async function instance(change: Partial<Instance> = {}): Promise<Instance> {
  const footprintId = newId();
  const template = { image: 'odoo:18', version: '18.0', bundle: 'apps', language: 'en_US', database: 'tpl' };
  const one: Instance = {
    ...{ instanceId: newId(), customerId: 'c-1', plan: { name: 'trial', version: 1 }, state: 'running' },
    placed: { footprintId, cell: 'c0', namespace: 'keep-c0', databaseShard: 'local', template },
    live: { footprintId, database: 'db', volumeClaim: 'claim', image: 'odoo:18' },
    ...{ since: new Date(Date.now() - 100 * dayMs), quiesce: null },
    ...change,
  };
  await database.transaction((tx) => instances.save(tx, one));
  return one;
}

const sha1Of = (content: string) => createHash('sha1').update(content).digest('hex');
const storedName = (content: string) => `${sha1Of(content).slice(0, 2)}/${sha1Of(content)}`;

/** A complete one, with all its objects in the store. */
async function complete(
  of: Instance,
  daysAgo: number,
  files: readonly string[],
  change: Partial<Backup> = {},
): Promise<Backup> {
  const { instanceId, customerId, placed, live } = of;
  const backupId = newId();
  const keys = keysOf(settings.meshName, { customerId, instanceId, backupId });
  const takenAt = new Date(Date.now() - daysAgo * dayMs);
  for (const content of files) await store.putSmall(contentKey(keys.files, storedName(content)), content, {});
  const lines = files.map((content) => indexLine({ name: storedName(content), bytes: content.length })).sort();
  await store.putSmall(keys.dump('1'), `dump of ${backupId}`, {});
  await store.putSmall(keys.index('1'), gzipSync(lines.join('')), {});
  await store.putSmall(keys.manifest, '{}', {});
  const backup: Backup = {
    ...{ backupId, instanceId, customerId, footprintId: placed.footprintId, why: 'scheduled', token: null },
    state: 'completed',
    source: { ...placed, ...live! },
    dumped: null,
    saved: { index: keys.index('1'), files: files.length, bytes: 0 },
    ...{ manifest: 'sha256', verified: null, fault: null, held: null, requestedAt: takenAt, takenAt, expiresAt: null },
    ...{ condition: null, ...timeSpentAtFirst(takenAt), traceparent: null, correlationId: backupId, requestId: null },
    ...change,
  };
  await database.transaction((tx) => backups.save(tx, backup));
  return backup;
}

/** One a day, each with a file of its own, and one that all have; the newest first. */
const daily = async (of: Instance, days: number) => {
  const all: Backup[] = [];
  for (let day = 1; day <= days; day += 1) all.push(await complete(of, day, ['shared', `of day ${day}`]));
  return all;
};

async function keysLeft({ customerId, instanceId }: Instance): Promise<string[]> {
  const prefix = keysOf(settings.meshName, { customerId, instanceId, backupId: '' }).instance;
  const found: string[] = [];
  for await (const { key } of store.list(prefix)) found.push(key.slice(prefix.length));
  return found;
}

async function asked<T>(question: (client: S3Client) => Promise<T>): Promise<T> {
  const { endpoint, region, accessKey: accessKeyId, secretKey: secretAccessKey } = bucket;
  const client = new S3Client({
    endpoint,
    region,
    forcePathStyle: true,
    credentials: { accessKeyId, secretAccessKey },
  });
  try {
    return await question(client);
  } finally {
    client.destroy();
  }
}

/** Also what is hidden. */
async function versionsLeft({ customerId, instanceId }: Instance): Promise<string[]> {
  const Prefix = keysOf(settings.meshName, { customerId, instanceId, backupId: '' }).instance;
  const { Versions = [], DeleteMarkers = [] } = await asked((client) =>
    client.send(new ListObjectVersionsCommand({ Bucket: bucket.bucket, Prefix })),
  );
  return [...Versions, ...DeleteMarkers].map(({ Key }) => Key!);
}

const contentsLeft = async (of: Instance) =>
  (await keysLeft(of)).filter((key) => key.startsWith('files/')).map((key) => key.slice('files/'.length));
const statesOf = async (all: readonly Backup[]) =>
  await Promise.all(all.map(async ({ backupId }) => (await backups.get(backupId))?.state));
const openOf = ({ instanceId }: Instance) => database.transaction((tx) => backups.openOf(tx, instanceId));
const toldExpired = async (all: readonly Backup[]) => {
  const rows = await database.query<{ body: { data: { backupId: string } } }>(
    `SELECT body FROM outbox WHERE routing_key = 'backup.expired.v1'`,
  );
  return rows.filter(({ body }) => all.some(({ backupId }) => JSON.stringify(body).includes(backupId))).length;
};

const weekOld = new Date(Date.now() - 7 * dayMs);

test('what is due is begun once, however many look', async () => {
  const due = await instance({ since: weekOld });
  const resting = await instance({ state: 'stopped', since: weekOld });
  await complete(resting, 0, []);
  const quiesce = { token: 't', deadline: new Date(Date.now() + hourMs).toISOString() };
  const others = [
    await instance({ quiesce, since: weekOld }),
    await instance({ state: 'maintenance', since: weekOld }),
    await instance({ state: 'terminating', since: weekOld }),
    await instance({ state: null, since: null, live: null }),
  ];
  work(['schedule'], 3);
  for (let round = 0; round < 5; round += 1) await ask('schedule');
  await waitFor('its backup', async () => (await openOf(due)).length > 0);
  await Promise.all(workers.map((one) => one.drain()));
  expect(await openOf(due)).toMatchObject([{ why: 'scheduled', state: 'waiting', token: null }]);
  for (const one of [resting, ...others]) expect(await openOf(one)).toEqual([]);
  const [{ jobs } = { jobs: 0 }] = await database.query<{ jobs: number }>(
    `SELECT count(*)::int AS jobs FROM job WHERE kind = 'backup'`,
  );
  expect(jobs).toBe(1);
});

test('an instance that lives where nobody has told of keeps none from being backed up', async () => {
  const elsewhere = { footprintId: newId(), database: 'db', volumeClaim: 'claim', image: 'odoo:18' };
  const all: Instance[] = [];
  for (const live of [elsewhere, undefined, elsewhere])
    all.push(await instance({ since: weekOld, ...(live && { live }) }));
  work(['schedule']);
  await ask('schedule');
  await waitFor('the backup of the one', async () => (await openOf(all[1]!)).length > 0);
});

test('an instance that nobody could back up for a week is counted as late', async () => {
  const late = await instance({ since: weekOld });
  const well = await instance();
  await complete(well, 0.1, [], {
    verified: { depth: 'full', offSite: true, rows: 1, files: 0, rtoMs: 1, at: '', filesSeen: 'read' },
  });
  await ask('schedule');
  work(['schedule']);
  await waitFor('the look', async () => (await openOf(late)).length > 0);
  const { plans } = await new FiguresRepository(database).figures();
  expect(plans).toEqual([{ plan: 'trial', instances: 2, late: 1, unproved: 0, oldestUnsaved: expect.any(Number) }]);
  expect(plans[0]!.oldestUnsaved).toBeGreaterThanOrEqual((7 * dayMs) / 1_000);
});

test('those that are over go, with what only they have, and nothing of the others', async () => {
  const of = await instance();
  const neighbour = await instance();
  const [all, theirs] = [await daily(of, 10), await daily(neighbour, 3)];
  const held = await complete(of, 20, ['held', 'shared'], { held: 'for a court' });
  await store.putSmall(`keep/c-1/${of.instanceId}/files/README`, 'not ours', {});
  const before = await keysLeft(neighbour);
  await ask('expiry');
  work(['expiry', 'expired']);
  await waitFor('them to be gone', async () => (await statesOf(all)).filter((one) => one === 'expired').length === 3);
  expect(await statesOf([...all, held, ...theirs])).toEqual([
    ...Array.from({ length: 7 }, () => 'completed'),
    ...['expired', 'expired', 'expired', 'completed', 'completed', 'completed', 'completed'],
  ]);
  const named = ['shared', 'held', ...[1, 2, 3, 4, 5, 6, 7].map((day) => `of day ${day}`)];
  expect(await contentsLeft(of)).toEqual([...named.map(storedName), 'README'].sort((a, b) => (a < b ? -1 : 1)).sort());
  const left = (await keysLeft(of)).filter((key) => key.startsWith('backups/'));
  expect(new Set(left.map((key) => key.split('/')[1]))).toEqual(
    new Set([...all.slice(0, 7), held].map(({ backupId }) => backupId)),
  );
  expect(await keysLeft(neighbour)).toEqual(before);
  expect(await toldExpired(all)).toBe(3);
});

test('whoever dies before any of its requests is followed by somebody who ends it, and tells each once', async () => {
  for (let removals = 0; ; removals += 1) {
    const of = await instance();
    const all = await daily(of, 9);
    const over = all.slice(7);
    store.removals = removals;
    await ask('expiry');
    work(['expiry', 'expired']);
    await waitFor('a death, or the end', async () => {
      const done = (await statesOf(over)).every((state) => state === 'expired');
      return done || store.removals < 0;
    });
    const died = store.removals < 0;
    store.removals = Number.POSITIVE_INFINITY;
    await waitFor('the end', async () => (await statesOf(over)).every((state) => state === 'expired'));
    expect((await contentsLeft(of)).length).toBe(8);
    for (const { backupId } of over) expect((await keysLeft(of)).join()).not.toContain(backupId);
    expect(await toldExpired(over)).toBe(2);
    expect(await database.query('SELECT 1 FROM sweep')).toEqual([]);
    await Promise.all(workers.map((one) => one.drain()));
    await database.query('DELETE FROM backup');
    await database.query('DELETE FROM job');
    if (!died) break;
  }
});

test('while a backup is under way no content goes, and while they are looked through none begins', async () => {
  const of = await instance();
  const all = await daily(of, 8);
  const underWay = await complete(of, 0, [], { state: 'saving', takenAt: null, manifest: null });
  const hasRoom = () => database.transaction((tx) => backups.hasRoom(tx, underWay, settings.most));
  await ask('expiry');
  work(['expiry', 'expired']);
  await waitFor('its objects to be gone', async () => !(await keysLeft(of)).join().includes(all[7]!.backupId));
  expect(await contentsLeft(of)).toContain(storedName('of day 8'));
  expect(await statesOf(all.slice(7))).toEqual(['expiring']);
  expect(await hasRoom()).toBe(true);

  await database.transaction((tx) => backups.save(tx, { ...underWay, state: 'failed' }));
  expect(await database.transaction((tx) => expiries.beginSweep(tx, of.instanceId))).toBe(true);
  expect(await hasRoom()).toBe(false);
  await queue.hurry('expired', of.instanceId);
  await waitFor('the end', async () => (await statesOf(all.slice(7)))[0] === 'expired');
  expect(await contentsLeft(of)).not.toContain(storedName('of day 8'));
  expect(await hasRoom()).toBe(true);
});

test('a shard has a place for the next dump as soon as one is made, a cell when all of a backup is', async () => {
  const most = { perCell: 3, perShard: 2 };
  const of = await instance();
  const made = async (state: Backup['state'], hoursAgo: number, change: Partial<Backup> = {}) =>
    await complete(of, hoursAgo / 24, [], { state, takenAt: null, manifest: null, ...change });
  const waiting = [await made('waiting', 3), await made('waiting', 2), await made('waiting', 1)];
  const ids = waiting.map(({ backupId }) => backupId);
  await made('waiting', 4, { condition: { reason: 'Quiesced', message: 'somebody works on it' } });
  const room = () => database.transaction((tx) => backups.hasRoom(tx, waiting[0]!, most));
  const next = () => backups.nextWaiting('local', most);
  const underWay = [await made('dumping', 6), await made('dumping', 5)];
  expect([await room(), await next()]).toEqual([false, []]);

  const saving = { ...underWay[0]!, state: 'saving' as const };
  await database.transaction((tx) => backups.save(tx, saving));
  expect([await room(), await next()]).toEqual([true, ids.slice(0, 1)]);
  await database.transaction((tx) => backups.save(tx, { ...underWay[1]!, state: 'saving' }));
  expect([await room(), await next()]).toEqual([true, ids.slice(0, 2)]);
  await made('saving', 5);
  expect([await room(), await next()]).toEqual([false, []]);

  const elsewhere = { ...waiting[2]!.source, cell: 'c1' };
  await database.transaction((tx) => backups.save(tx, { ...waiting[2]!, source: elsewhere }));
  expect(await next()).toEqual(ids.slice(2));
  await database.transaction((tx) => backups.save(tx, { ...saving, state: 'completed' }));
  expect([await room(), await next()]).toEqual([true, [ids[0], ids[1]]]);
});

test.each([
  ['is not there', undefined],
  ['ends too early', (whole: Buffer) => whole.subarray(0, whole.length - 12)],
  ['is something else', () => gzipSync('{"name":"../../etc/passwd","bytes":1}\n')],
])('while an index %s nothing goes, and backups go on', async (_, broken) => {
  const of = await instance();
  const all = await daily(of, 9);
  const { index } = all[3]!.saved!;
  const whole: Buffer[] = [];
  for await (const chunk of await store.get(index!)) whole.push(chunk as Buffer);
  if (broken) await store.putSmall(index!, broken(Buffer.concat(whole)), {});
  else await store.remove([index!]);
  const before = await contentsLeft(of);
  await ask('expiry');
  work(['expiry', 'expired']);
  await waitFor('some tries', async () => {
    const rows = await database.query(`SELECT 1 FROM job WHERE kind = 'expired' AND attempt >= 3`);
    return rows.length > 0;
  });
  expect(await contentsLeft(of)).toEqual(before);
  expect(await statesOf(all.slice(7))).toEqual(['expiring', 'expiring']);
  await Promise.all(workers.map((one) => one.drain()));
  expect(await database.query('SELECT 1 FROM sweep')).toEqual([]);

  await store.putSmall(index!, Buffer.concat(whole), {});
  work(['expired']);
  await waitFor('the end', async () => (await statesOf(all.slice(7))).every((state) => state === 'expired'));
  expect(await contentsLeft(of)).toHaveLength(8);
});

test('one that is being restored stays, and one that was destroyed is forgotten when its date has come', async () => {
  const of = await instance();
  const all = await daily(of, 9);
  const young = await complete(of, 0.5, ['shared']);
  const begin = new BeginRestore(restores, queue);
  const cause = { traceparent: null, correlationId: newId(), requestId: null };
  const asked = { instanceId: of.instanceId, backupId: all[8]!.backupId, mode: 'clone', to: null } as const;
  await database.transaction((tx) =>
    begin.of(tx, { ...asked, restoreId: newId(), requestedBy: 'spec', reason: 'a spec', cause }),
  );
  await ask('expiry');
  work(['expiry', 'expired']);
  // How many days the young one adds to those that are kept depends on the time of day; of this one it never does.
  await waitFor('the other', async () => (await statesOf(all.slice(7, 8)))[0] === 'expired');
  expect((await statesOf(all))[8]).toBe('completed');

  await database.query(`UPDATE restore SET status = 'ended'`);
  const destroyed = { ...of, state: 'terminated', since: new Date(Date.now() - 31 * dayMs) } as const;
  await database.transaction((tx) => instances.save(tx, destroyed));
  await queue.hurry('expiry', 'all');
  await waitFor('all', async () => (await statesOf(all)).every((state) => state === 'expired'));
  // Nobody can take its day from it.
  expect(await statesOf([young])).toEqual(['completed']);
  expect(await contentsLeft(of)).toEqual([storedName('shared')]);
});

test('who holds it and who lets it go at the same time: it is held, or who asks is told that it is gone', async () => {
  const handler = new HoldBackupHandler(backups);
  const of = await instance();
  const all = await daily(of, 12);
  work(['expiry']);
  const holds = all.slice(7).map(async ({ backupId }) => {
    const message = { id: newId() } as ConsumeContext['message'];
    await database.transaction((tx) =>
      handler.handle({ backupId, reason: 'a court' }, { ...outbox.within(tx, {}), message }),
    );
  });
  await Promise.all([ask('expiry'), ...holds]);
  await waitFor(
    'the look',
    async () => (await database.query(`SELECT 1 FROM job WHERE kind = 'expiry' AND due_at > now()`)).length > 0,
  );
  for (const { backupId } of all.slice(7)) {
    const { held, state } = (await backups.get(backupId))!;
    expect([held, state]).toEqual(held ? ['a court', 'completed'] : [null, 'expiring']);
  }
});

const precious = 'a content';
const spoiled = 'A content';
const contentsKey = ({ customerId, instanceId }: Instance, content: string) =>
  contentKey(keysOf(settings.meshName, { customerId, instanceId, backupId: '' }).files, storedName(content));

/** A proof has read something else in a backup that has two contents; what is in the store now is `stored`. */
async function damaged(of: Instance, stored = spoiled): Promise<Backup> {
  const fault = { code: 'CORRUPTED', message: 'not what was written', damaged: [sha1Of(precious)] };
  const backup = await complete(of, 1, ['shared', precious], { fault });
  await store.putSmall(contentsKey(of, precious), stored, {});
  await ask('expired', of.instanceId);
  return backup;
}

const lookedAt = (backup: Backup) =>
  waitFor('somebody to have looked', async () => !(await backups.get(backup.backupId))?.fault?.damaged);
const keptAside = `damaged/${sha1Of(precious)}-${sha1Of(spoiled)}`;

test('a content that was damaged in the store is set aside, and the next save of its instance sends it again', async () => {
  const of = await instance();
  const backup = await damaged(of);
  work(['expired']);
  await lookedAt(backup);
  expect(await contentsLeft(of)).toEqual([storedName('shared')]);
  const { instance: prefix, files, index } = keysOf(settings.meshName, { ...of, backupId: newId() });
  expect(await text(await store.get(`${prefix}${keptAside}`))).toBe(spoiled);
  expect(await backups.get(backup.backupId)).toMatchObject({
    ...{ state: 'completed', fault: { code: 'CORRUPTED', mayHeal: true } },
  });

  const volume = mkdtempSync(join(tmpdir(), 'mesh-files-'));
  try {
    for (const content of ['shared', precious]) {
      mkdirSync(join(volume, dirname(storedName(content))), { recursive: true });
      writeFileSync(join(volume, storedName(content)), content);
    }
    const tools = { store, filestore: new FilestoreFolder(volume), log };
    const signal = new AbortController().signal;
    const to = { folder: 'db', files, index: index('2') };
    expect(await saveFiles(tools, to, signal)).toMatchObject({ files: 2, uploaded: 1 });
  } finally {
    rmSync(volume, { recursive: true });
  }
  expect(await text(await store.get(contentsKey(of, precious)))).toBe(precious);
});

test('whoever dies before it is hidden is followed by somebody who hides it', async () => {
  const of = await instance();
  const backup = await damaged(of);
  store.removals = 0;
  work(['expired']);
  await waitFor('a death', async () => store.removals < 0);
  store.removals = Number.POSITIVE_INFINITY;
  await lookedAt(backup);
  expect((await keysLeft(of)).filter((key) => !key.startsWith('backups/'))).toEqual([
    keptAside,
    `files/${storedName('shared')}`,
  ]);
  expect(await database.query('SELECT 1 FROM sweep')).toEqual([]);
});

test('a content that is well stays, whatever a proof has read', async () => {
  const of = await instance();
  const backup = await damaged(of, precious);
  work(['expired']);
  await lookedAt(backup);
  expect(await contentsLeft(of)).toEqual([storedName('shared'), storedName(precious)].sort());
  expect((await keysLeft(of)).filter((key) => key.startsWith('damaged/'))).toEqual([]);
});

test('where nobody can look, or sees something else each time, nothing is touched, and somebody looks again', async () => {
  const of = await instance();
  const backup = await damaged(of);
  const key = contentsKey(of, precious);
  let looks = 0;
  store.answer = (content, asked) => {
    if (asked !== key) return content;
    looks += 1;
    content.destroy();
    if (looks < 3) throw new ObjectStoreError('the store is away', true);
    return Readable.from([`another answer ${looks}`]);
  };
  const before = await contentsLeft(of);
  work(['expired']);
  await waitFor('it to be put off', async () => {
    const rows = await database.query(
      `SELECT 1 FROM job WHERE kind = 'expired' AND due_at > now() + interval '1 minute'`,
    );
    return rows.length > 0;
  });
  expect(looks).toBeGreaterThanOrEqual(4);
  expect(await contentsLeft(of)).toEqual(before);
  expect((await backups.get(backup.backupId))?.fault?.damaged).toEqual([sha1Of(precious)]);

  store.answer = (content) => content;
  await queue.hurry('expired', of.instanceId);
  await lookedAt(backup);
  expect(await contentsLeft(of)).toEqual([storedName('shared')]);
});

test('while a backup is under way nothing is set aside: it may count on what it has seen', async () => {
  const of = await instance();
  const underWay = await complete(of, 0, [], { state: 'saving', takenAt: null, manifest: null });
  const backup = await damaged(of);
  work(['expired']);
  await waitFor('it to be put off', async () => {
    const rows = await database.query(`SELECT 1 FROM job WHERE kind = 'expired' AND due_at > now() + interval '10 s'`);
    return rows.length > 0;
  });
  expect(await contentsLeft(of)).toContain(storedName(precious));
  await database.transaction((tx) => backups.save(tx, { ...underWay, state: 'failed' }));
  await queue.hurry('expired', of.instanceId);
  await lookedAt(backup);
  expect(await contentsLeft(of)).not.toContain(storedName(precious));
});

test('with the last backup of an instance that was destroyed goes what was set aside of it', async () => {
  const of = await instance({ state: 'terminated', since: new Date(Date.now() - 31 * dayMs) });
  const backup = await damaged(of);
  work(['expired']);
  await lookedAt(backup);
  expect(await keysLeft(of)).toContain(keptAside);
  await ask('expiry');
  work(['expiry']);
  await waitFor('its end', async () => (await statesOf([backup]))[0] === 'expired');
  expect(await keysLeft(of)).toEqual([]);
  expect(await versionsLeft(of)).toEqual([]);
});

test('of many who ask by hand at once one gets a backup, the others are told which; nobody else is kept waiting', async () => {
  const of = await instance();
  const handler = new RequestBackupHandler(instances, backups, new BeginBackup(instances, backups, queue));
  const request = async (why: Backup['why']) => {
    const message = { id: newId(), attempt: 1, correlationId: newId() } as ConsumeContext['message'];
    const asked = { instanceId: of.instanceId, backupId: newId(), why };
    await database.transaction((tx) => handler.handle(asked, { ...outbox.within(tx, {}), message }));
  };
  await Promise.all(Array.from({ length: 5 }, () => request('manual')));
  await request('pre-upgrade');
  const made = await openOf(of);
  expect(made.map(({ why }) => why).sort()).toEqual(['manual', 'pre-upgrade']);
  const refused = await database.query<{ body: string }>(
    `SELECT body::text FROM outbox WHERE routing_key = 'backup.refused.v1'`,
  );
  const told = refused
    .map(({ body }) => JSON.parse(body).data)
    .filter(({ instanceId }) => instanceId === of.instanceId);
  const { backupId } = made.find(({ why }) => why === 'manual')!;
  expect(told).toEqual(
    Array.from({ length: 4 }, () =>
      expect.objectContaining({ code: 'BACKUP_RUNS', message: expect.stringContaining(backupId) }),
    ),
  );
});

describe('contents in a store with object lock', () => {
  const until = new Date(Math.ceil(Date.now() / 1_000) * 1_000 + hourMs);
  const keyOf = ({ customerId, instanceId }: Instance, content: string) =>
    contentKey(keysOf(settings.meshName, { customerId, instanceId, backupId: '' }).files, storedName(content));
  const heldUntil = async (of: Instance, content: string) => {
    const target = { Bucket: bucket.bucket, Key: keyOf(of, content) };
    const { Retention } = await asked((client) => client.send(new GetObjectRetentionCommand(target)));
    return Retention!.RetainUntilDate!;
  };
  /** What the store has got is no younger than the index that comes now. */
  const aSecondLater = async () => {
    const now = Date.now();
    await waitFor('the next second', () => Math.floor(Date.now() / 1_000) > Math.floor(now / 1_000));
  };
  /** As a backup is made that brings `fresh`, and names `files` too, which are there. */
  const saved = async (
    of: Instance,
    fresh: readonly string[],
    files: readonly string[],
    until: Date,
    deaths: readonly number[] = [],
  ) => {
    for (const content of fresh) await store.putSmall(keyOf(of, content), content, {});
    await aSecondLater();
    const names = [...fresh, ...files];
    const { instanceId, customerId } = of;
    const backup = await complete(of, 0, [], { state: 'saving' });
    const { index } = backup.saved!;
    const lines = names.map((content) => indexLine({ name: storedName(content), bytes: content.length })).sort();
    await store.putSmall(index!, gzipSync(lines.join('')), {});
    locking.locked.length = 0;
    const lock = new LockContents(locking, backups, settings);
    const whose = { backupId: backup.backupId, instanceId, customerId };
    const signal = AbortSignal.timeout(60_000);
    for (const death of deaths) {
      let left = death;
      const dies = () => {
        if (left-- <= 0) throw new Error('died here');
      };
      await expect(lock.lock(whose, index!, until, dies, signal)).rejects.toThrow('died here');
    }
    const held = await lock.lock(whose, index!, until, () => {}, signal);
    const done: Backup = {
      ...backup,
      state: 'completed',
      saved: { ...backup.saved!, locked: held },
    };
    await database.transaction((tx) => backups.save(tx, done));
    for (const content of names)
      expect((await heldUntil(of, content)).getTime()).toBeGreaterThanOrEqual(until.getTime());
    const contents = names.filter((content) => locking.locked.includes(keyOf(of, content)));
    return { held: new Date(held.until), locked: contents, backup: done };
  };

  test('are locked once for all backups of the next weeks, and those that are new or written anew by themselves', async () => {
    const of = await instance();
    const first = await saved(of, ['a', 'b', 'c'], [], until);
    expect(first.locked).toEqual(['a', 'b', 'c']);
    expect(first.held.getTime() - until.getTime()).toBeGreaterThanOrEqual(14 * dayMs);
    expect(first.held.getTime() - until.getTime()).toBeLessThanOrEqual(28 * dayMs);

    const soon = new Date(until.getTime() + dayMs);
    const second = await saved(of, ['d'], ['a', 'b'], soon);
    expect([second.locked, second.held]).toEqual([['d'], first.held]);

    // It was damaged, and set aside: the new one is another version.
    await store.hide(keyOf(of, 'b'));
    const third = await saved(of, ['b'], ['a', 'd'], soon);
    expect(third.locked).toEqual(['b']);

    // The third does not name it, so nobody has looked whether it is the one that was locked.
    const fourth = await saved(of, [], ['a', 'c'], soon);
    expect(fourth.locked).toEqual(['c']);

    const late = new Date(first.held.getTime() + dayMs);
    const last = await saved(of, [], ['a', 'b', 'c', 'd'], late);
    expect(last.locked).toEqual(['a', 'b', 'c', 'd']);
    expect(last.held.getTime()).toBeGreaterThan(late.getTime());
  });

  test.each([
    ['gone', async (index: string) => await store.remove([index])],
    ['damaged', async (index: string) => void (await store.putSmall(index, 'nothing that was ever compressed', {}))],
    [
      'another one, which names more',
      async (index: string) => {
        const names = ['a', 'b'].map((content) => indexLine({ name: storedName(content), bytes: 1 }));
        await store.putSmall(index, gzipSync(names.sort().join('')), {});
      },
    ],
  ])('are all locked anew when the index that named them is %s', async (_, spoil) => {
    const of = await instance();
    const { backup } = await saved(of, ['a'], [], until);
    await store.putSmall(keyOf(of, 'b'), 'b', {});
    await spoil(backup.saved!.index!);
    expect((await saved(of, [], ['a', 'b'], until)).locked).toEqual(['a', 'b']);
  });

  test('are not held by a daily backup as long as by one before it that somebody asked for', async () => {
    const of = await instance();
    const byHand = await saved(of, ['a'], [], new Date(until.getTime() + 30 * dayMs));
    const daily = await saved(of, ['b'], ['a'], until);
    expect(daily.locked).toEqual(['b']);
    expect(daily.held.getTime()).toBeLessThan(byHand.held.getTime());
    expect(await heldUntil(of, 'b')).toEqual(daily.held);
  });

  test('are all locked by who comes after one who died among them', async () => {
    const of = await instance();
    const { held } = await saved(of, ['a', 'b', 'c'], [], until, [0, 1, 2]);
    for (const content of ['a', 'b', 'c']) expect(await heldUntil(of, content)).toEqual(held);
  });

  test('that are gone when they are to be locked make no backup of it', async () => {
    const of = await instance();
    await expect(saved(of, [], ['never sent'], until)).rejects.toThrow(ObjectMissing);
  });

  test('go when the store gives them up, long after their last backup', async () => {
    const of = await instance();
    const over = await complete(of, 60, ['a', 'b'], { state: 'expiring' });
    const soon = new Date(Math.ceil(Date.now() / 1_000) * 1_000 + 2_000);
    await locking.lockUntil(keyOf(of, 'a'), soon);
    // One of them is held longer than its backup knows.
    await locking.lockUntil(keyOf(of, 'b'), new Date(soon.getTime() + 3_000));
    const locked = { until: soon.toISOString(), since: soon.toISOString(), names: '' };
    await database.transaction((tx) => backups.save(tx, { ...over, saved: { ...over.saved!, locked } }));
    await ask('expired', of.instanceId);
    work(['expired']);
    await waitFor('it to be told', async () => (await statesOf([over]))[0] === 'expired');
    expect(await keysLeft(of)).toEqual([storedName('a'), storedName('b')].map((name) => `files/${name}`).sort());
    expect(await toldExpired([over])).toBe(1);
    const left = async () => (await versionsLeft(of)).map((key) => key.slice(-40));
    await waitFor('the one to go', async () => (await left()).join() === sha1Of('b'));
    await waitFor('the other to go', async () => (await left()).length === 0);
    await waitFor('nobody to look any more', async () => !(await expiries.heldContents(of.instanceId)));
    expect(await database.query(`SELECT 1 FROM job WHERE kind = 'expired'`)).toEqual([]);
  });

  test('wait without a look at each, while no other backup of the instance would find them gone', async () => {
    const of = await instance();
    const [over, kept] = [await complete(of, 60, ['a', 'b'], { state: 'expiring' }), await complete(of, 1, ['b'])];
    const later = new Date(Date.now() + dayMs);
    const locked = { until: later.toISOString(), since: later.toISOString(), names: '' };
    await database.transaction((tx) => backups.save(tx, { ...over, saved: { ...over.saved!, locked } }));
    await ask('expired', of.instanceId);
    work(['expired']);
    await waitFor('it to be told', async () => (await statesOf([over]))[0] === 'expired');
    expect(await expiries.heldContents(of.instanceId)).toEqual({ customerId: of.customerId, sweepAt: later });
    expect((await contentsLeft(of)).sort()).toEqual([storedName('a'), storedName('b')].sort());
    // Nobody waits for a day here: its time is over now.
    await database.query('UPDATE held_contents SET sweep_at = now()');
    await ask('expired', of.instanceId);
    await waitFor('what nothing names to go', async () => (await contentsLeft(of)).join() === storedName('b'));
    expect(await statesOf([kept])).toEqual(['completed']);
  });
});
