import { readFileSync } from 'node:fs';
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { newId } from '#contracts/index.js';
import { type ConsumeContext, type MessageHandler, messagingMigrations } from '#messaging/index.js';
import { Database } from '#persistence/index.js';
import { createTestDatabase, type TestDatabase } from '#testing/database.js';
import * as ofBackups from '../application/project-backup.handlers.js';
import * as ofRestores from '../application/project-restore.handlers.js';
import { BackupViewRepository } from './backup-view.repository.js';
import { gatewayMigrations } from './gateway.migration.js';
import { InstanceViewRepository } from './instance-view.repository.js';
import { RestoreViewRepository } from './restore-view.repository.js';

let server: TestDatabase;
let database: Database;
let instances: InstanceViewRepository;
let backups: BackupViewRepository;
let restores: RestoreViewRepository;
let handlers: Record<string, MessageHandler>;

beforeAll(async () => {
  server = await createTestDatabase('backups');
  database = await Database.open({
    ...{ url: server.url, schema: server.schema, applicationName: 'backup views spec' },
    migrations: [...messagingMigrations, ...gatewayMigrations],
  });
  instances = new InstanceViewRepository(database);
  backups = new BackupViewRepository(database);
  restores = new RestoreViewRepository(database);
  handlers = {
    'backup.completed': new ofBackups.ProjectBackupCompletedHandler(backups),
    'backup.verified': new ofBackups.ProjectBackupVerifiedHandler(backups),
    'backup.failed': new ofBackups.ProjectBackupFailedHandler(backups),
    'backup.refused': new ofBackups.ProjectBackupRefusedHandler(backups),
    'backup.hold-changed': new ofBackups.ProjectBackupHoldHandler(backups),
    'backup.expired': new ofBackups.ProjectBackupExpiredHandler(backups),
    'restore.progressed': new ofRestores.ProjectRestoreProgressHandler(restores),
    'restore.completed': new ofRestores.ProjectRestoreCompletedHandler(restores),
    'restore.failed': new ofRestores.ProjectRestoreFailedHandler(restores, instances),
    'restore.refused': new ofRestores.ProjectRestoreRefusedHandler(restores, instances),
  };
});
afterAll(async () => {
  await database?.close();
  await server?.drop();
});

/** A fact as the contract's example has it, with what the test changes, and its place among those of its subject. */
interface Said {
  readonly fact: string;
  readonly sequence: number;
  readonly change: object;
}
const said = (sequence: number, fact: string, change: object = {}): Said => ({ fact, sequence, change });

async function hear(ids: object, { fact, sequence, change }: Said): Promise<void> {
  const { data, time } = JSON.parse(readFileSync(`libs/contracts/fixtures/${fact}.v1/example.json`, 'utf8'));
  await database.transaction((tx) => {
    const message = { sequence, time, correlationId: 'o-1' };
    return handlers[fact]!.handle({ ...data, ...change, ...ids } as never, { ...tx, message } as ConsumeContext);
  });
}

const permutations = <T>(of: readonly T[]): T[][] =>
  of.length < 2 ? [[...of]] : of.flatMap((one, i) => permutations(of.toSpliced(i, 1)).map((rest) => [one, ...rest]));

async function backup(facts: readonly Said[], backupId = newId()) {
  for (const fact of facts) await hear({ backupId }, fact);
  const { backupId: _, notedAt: _n, ...view } = (await backups.get(backupId))!;
  return view;
}

async function restore(facts: readonly Said[], restoreId = newId()) {
  for (const fact of facts) await hear({ restoreId }, fact);
  const { restoreId: _, notedAt: _n, ...view } = (await restores.get(restoreId))!;
  return view;
}

const takenAt = '2026-11-23T09:00:00.000Z';
const completed = said(1, 'backup.completed', { takenAt, why: 'manual' });
const verified = said(3, 'backup.verified', {
  why: 'manual',
  depth: 'full',
  offSite: true,
  rtoMs: 70,
  filesMissing: 2,
});
const bad = (sequence: number) =>
  said(sequence, 'backup.failed', { why: 'manual', code: 'FLIPPED', message: 'a byte' });
const held = said(4, 'backup.hold-changed', { held: true, reason: 'a court' });
const expired = said(6, 'backup.expired', { takenAt, why: 'manual' });

test.each<[string, Said[], object]>([
  ['was made', [completed], { state: 'completed', takenAt: new Date(takenAt), verifiedAt: null, code: null }],
  [
    'was made, proved and is held',
    [completed, verified, held],
    { state: 'verified', held: true, holdReason: 'a court', depth: 'full', offSite: true, rtoMs: 70, filesMissing: 2 },
  ],
  [
    'was proved to be good, and later that it is not',
    [completed, verified, bad(5)],
    { state: 'failed', code: 'FLIPPED', message: 'a byte', depth: 'full' },
  ],
  [
    'was taken for bad, and later proved to be good',
    [completed, bad(2), verified],
    { state: 'verified', code: null, message: null },
  ],
  ['was not made', [bad(1)], { state: 'failed', takenAt: null, code: 'FLIPPED' }],
  [
    'was made, proved, failed once and is gone',
    [completed, bad(2), verified, expired],
    { state: 'expired', takenAt: new Date(takenAt), expiredAt: expect.any(Date), held: false },
  ],
])(
  'a backup that %s is shown so, in whichever order the facts come, and when they come again',
  async (_, facts, shown) => {
    const inOrder = await backup(facts);
    expect(inOrder).toMatchObject(shown);
    for (const order of permutations(facts)) expect(await backup([...order, ...order])).toEqual(inOrder);
  },
);

test('a rebuild makes a backup anew from what is said again, and keeps what was said here or is not said again', async () => {
  const backupId = newId();
  const { instanceId } = await backup([completed, verified, bad(5), held], backupId);
  const asked = { operationId: 'o-1', requestedBy: 'key', reason: 'to be sure' };
  await database.transaction((tx) => backups.merge(tx, { backupId, instanceId, ...asked }));
  await database.query(`UPDATE backup_view SET checksum = 'wrong', files_seen = 'wrong' WHERE backup_id = $1`, [
    backupId,
  ]);
  await database.transaction((tx) => instances.startAnew(tx));
  expect(await backup([verified, completed], backupId)).toMatchObject({
    ...{ state: 'failed', code: 'FLIPPED', held: false, filesSeen: null, ...asked },
    checksum: expect.stringMatching(/^[0-9a-f]{64}$/),
  });
});

test('a refusal is shown only of a backup that was asked for here by that request, and of which nothing is there', async () => {
  const instanceId = newId();
  const asked = async (operationId: string) => {
    const backupId = newId();
    await database.transaction((tx) => backups.merge(tx, { backupId, instanceId, why: 'manual', operationId }));
    return backupId;
  };
  const refused = (requestId: string) => said(1, 'backup.refused', { requestId, code: 'NOT_NOW', message: 'later' });
  expect(await backup([refused('o-1')], await asked('o-1'))).toMatchObject({ state: 'refused', code: 'NOT_NOW' });
  expect(await backup([refused('o-2')], await asked('o-1'))).toMatchObject({ state: 'requested', code: null });
  expect(await backup([completed, refused('o-1')], await asked('o-1'))).toMatchObject({ state: 'completed' });
  const unknown = newId();
  await hear({ backupId: unknown }, refused('o-3'));
  expect(await backups.get(unknown)).toBeUndefined();
});

test('backups of an instance come newest first, by state, a page at a time; the last good one is the instance’s', async () => {
  const instanceId = newId();
  await database.transaction((tx) => instances.merge(tx, { instanceId, operationId: newId() }));
  const lastBackup = async () => (await instances.get(instanceId))!.lastBackup;
  expect(await lastBackup()).toBeNull();
  const ids: string[] = [];
  const hours = (ago: number) => new Date(Date.now() - ago * 3_600_000).toISOString();
  const of = async (facts: readonly Said[], ago: number) => {
    ids.push(newId());
    for (const fact of facts) await hear({ backupId: ids.at(-1), instanceId, takenAt: hours(ago) }, fact);
  };
  await of([completed, verified], 5);
  expect(await lastBackup()).toMatchObject({ backupId: ids[0], verified: true, ageSeconds: 5 * 3_600 });
  await of([completed], 4);
  await of([completed, verified, bad(5)], 3);
  await of([completed, verified, expired], 2);
  expect(await lastBackup()).toEqual({
    ...{ backupId: ids[1], verified: false, ageSeconds: 4 * 3_600, takenAt: expect.any(Date) },
  });
  const list = async (filter: object = {}) =>
    (await backups.of(instanceId, { limit: 50, ...filter })).map(({ backupId }) => backupId);
  expect(await list()).toEqual(ids.toReversed());
  expect(await list({ state: 'failed' })).toEqual([ids[2]]);
  const first = await list({ limit: 3 });
  expect([...first, ...(await list({ after: first.at(-1) }))]).toEqual(ids.toReversed());
  const final = { backupId: newId(), instanceId, takenAt: hours(9) };
  await hear(final, said(1, 'backup.completed', { why: 'final' }));
  expect(await backups.finalOf(instanceId)).toMatchObject({ backupId: final.backupId });
});

const steps = ['footprint', 'database', 'files'];
const step = (sequence: number, name: string) =>
  said(sequence, 'restore.progressed', { step: name, steps, message: `${name} is at work` });
const done = said(4, 'restore.completed', { durationMs: 41_000 });
const failed = said(4, 'restore.failed', { code: 'FLIPPED', message: 'a byte' });

test.each<[string, Said, object]>([
  ['completed', done, { state: 'completed', message: null, durationMs: 41_000 }],
  ['failed', failed, { state: 'failed', code: 'FLIPPED', message: 'a byte' }],
])('a restore that has %s has ended, whatever comes late', async (_, end, shown) => {
  expect(await restore([step(1, 'footprint'), step(2, 'database'), end])).toMatchObject({ ...shown, step: 'database' });
  for (const late of [[step(2, 'database')], [end, step(1, 'footprint'), step(2, 'database')]])
    expect(await restore([end, ...late])).toMatchObject({ ...shown, step: null, endedAt: expect.any(Date) });
});

test('since when a restore is at a step does not change while it is', async () => {
  const restoreId = newId();
  const { stepSince } = await restore([step(1, 'database')], restoreId);
  await database.query(`UPDATE restore_view SET step_since = step_since - interval '1 hour' WHERE restore_id = $1`, [
    restoreId,
  ]);
  const again = await restore([step(2, 'database')], restoreId);
  expect(again.stepSince!.getTime()).toBe(stepSince!.getTime() - 3_600_000);
  expect((await restore([step(3, 'files')], restoreId)).stepSince).toEqual(stepSince);
});

test('an instance waits for what restores it, or what it is made by, and for no clone of it', async () => {
  const [instanceId, cloned] = [newId(), newId()];
  const to = { instanceId: cloned, slug: 'copy', customerId: 'c-1' };
  const ask = async (mode: 'in-place' | 'clone', more: object = {}) => {
    const restoreId = newId();
    const asked = { restoreId, instanceId, backupId: newId(), mode, state: 'requested', operationId: 'o-1' } as const;
    await database.transaction((tx) => restores.merge(tx, { ...asked, ...more }));
    return restoreId;
  };
  const clone = await ask('clone', { to });
  await database.transaction((tx) => instances.merge(tx, { ...to, state: 'requested', operationId: 'o-1' }));
  expect(await restores.underWay(instanceId)).toBeUndefined();
  expect(await restores.underWay(cloned)).toMatchObject({ restoreId: clone, to });
  const inPlace = await ask('in-place');
  expect(await restores.underWay(instanceId)).toMatchObject({ restoreId: inPlace });
  await hear({ restoreId: inPlace, instanceId }, done);
  expect(await restores.underWay(instanceId)).toBeUndefined();
  // Of what is not made there is nothing, and the name is free.
  expect(await instances.holderOf('copy')).toBe(cloned);
  await hear({ restoreId: clone, instanceId, requestId: 'o-2' }, said(1, 'restore.refused'));
  expect(await restores.underWay(cloned)).toMatchObject({ restoreId: clone });
  await hear({ restoreId: clone, instanceId, mode: 'clone' }, failed);
  expect(await instances.get(cloned)).toMatchObject({ state: 'refused', reason: 'FLIPPED', slug: 'copy' });
  expect(await instances.holderOf('copy')).toBeUndefined();
  const refused = await ask('clone', { to: { ...to, instanceId: newId() } });
  await hear(
    { restoreId: refused, instanceId, requestId: 'o-1', code: 'NO', message: 'no' },
    said(1, 'restore.refused'),
  );
  expect(await restores.get(refused)).toMatchObject({ state: 'refused', code: 'NO' });
});
