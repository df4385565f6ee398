import { expect, test } from '@jest/globals';
import type { Backup, BackupState } from './backup.js';
import type { Instance } from './instance.js';
import { contentsOf, isNewerThan, type Mode, needs, refusalOf, stagesOf } from './restore.js';

const backup = (change: Partial<Backup> = {}) =>
  ({ instanceId: 'i1', customerId: 'c-1', state: 'completed', fault: null, ...change }) as Backup;
const trial = { name: 'trial', version: 1 };
const instance = (change: Partial<Instance> = {}) =>
  ({ instanceId: 'i1', state: 'running', plan: trial, ...change }) as Instance;
const gigabytes = (n: number) => backup({ saved: { index: 'i', files: 1, bytes: n * 1024 ** 3 } });
const asked = (mode: Mode = 'in-place', to: Parameters<typeof refusalOf>[0]['to'] = null) => ({
  instanceId: 'i1',
  mode,
  to,
});
const clone = (customerId: string) => asked('clone', { instanceId: 'i2', slug: 'copy', customerId });

test('what an instance has of its own is restored to it, and cloned for its customer', () => {
  for (const mode of ['in-place', 'files-only', 'database-only', 'clone'] as const)
    expect(refusalOf(asked(mode), backup(), instance())).toBeUndefined();
  expect(refusalOf(clone('c-1'), backup(), instance())).toBeUndefined();
});

test.each([
  ['a backup that nobody has', asked(), undefined, instance(), 'UNKNOWN_BACKUP'],
  ['that of another instance', asked(), backup({ instanceId: 'i2' }), instance(), 'NOT_ITS_BACKUP'],
  ['a clone for another customer', clone('c-2'), backup(), instance(), 'ANOTHER_CUSTOMER'],
  [
    'a new name for the instance itself',
    { ...clone('c-1'), mode: 'in-place' as const },
    backup(),
    instance(),
    'NOT_A_CLONE',
  ],
  [
    'one that a proof found bad',
    asked(),
    backup({ fault: { code: 'CORRUPTED', message: 'x' } }),
    instance(),
    'BACKUP_NOT_GOOD',
  ],
  ['one whose files do not fit into the plan', asked(), gigabytes(2), instance(), 'DOES_NOT_FIT'],
  ['a clone of it', clone('c-1'), gigabytes(2), instance(), 'DOES_NOT_FIT'],
  ['into an instance that is gone', asked(), backup(), instance({ state: 'terminated' }), 'IS_TERMINATED'],
  ['into one that is being destroyed', asked(), backup(), instance({ state: 'purging' }), 'IS_TERMINATED'],
] as const)('%s is refused', (_, what, its, of, code) => {
  expect(refusalOf(what, its, of)).toMatchObject({ code, fault: 'user' });
});

test.each([
  ['waiting', 'BACKUP_RUNS'],
  ['dumping', 'BACKUP_RUNS'],
  ['saving', 'BACKUP_RUNS'],
  ['failed', 'BACKUP_FAILED'],
  ['expiring', 'BACKUP_EXPIRED'],
  ['expired', 'BACKUP_EXPIRED'],
] as const)('a backup that is %s is restored to nobody: %s', (state: BackupState, code) => {
  for (const mode of ['in-place', 'clone'] as const)
    expect(refusalOf(asked(mode), backup({ state }), instance())).toMatchObject({ code });
});

test('a backup is cloned when its instance is long gone', () => {
  expect(refusalOf(clone('c-1'), backup(), instance({ state: 'terminated' }))).toBeUndefined();
});

test('a backup whose files fit is restored, also into a plan that nobody knows here', () => {
  expect(refusalOf(asked(), gigabytes(1), instance())).toBeUndefined();
  expect(refusalOf(asked(), gigabytes(2), instance({ plan: { name: 'new', version: 1 } }))).toBeUndefined();
});

test('a backup is needed by what restores it and by what it makes safe, and by no proof that has not begun', () => {
  const restore = (mode: Mode, progress = {}) => ({ mode, backupId: 'b', progress });
  expect(needs(restore('clone'), 'b')).toBe(true);
  expect(needs(restore('in-place', { safetyBackupId: 'now' }), 'now')).toBe(true);
  expect(needs(restore('clone'), 'another')).toBe(false);
  expect(needs(restore('proof', { failures: 3 }), 'b')).toBe(false);
  expect(needs(restore('proof', { footprintAsked: 'f' }), 'b')).toBe(true);
});

test('an older Odoo does not open what a newer one wrote; what cannot be compared is tried', () => {
  expect(isNewerThan('19.0', '18.0')).toBe(true);
  for (const [theirs, ours] of [
    ['18.0', '18.0'],
    ['17.0', '18.0'],
    ['9.0', '18.0'],
    ['saas', '18.0'],
  ] as const)
    expect(isNewerThan(theirs, ours)).toBe(false);
});

test('an instance is stopped as late as can be, never switched without a safety backup, and never touched by a proof', () => {
  for (const mode of ['in-place', 'files-only', 'database-only'] as const) {
    const stages = stagesOf({ mode });
    expect(stages.indexOf('quiesce')).toBeLessThan(stages.indexOf('safety'));
    expect(stages.indexOf('safety')).toBeLessThan(stages.indexOf('release'));
    expect(stages.indexOf('load')).toBeLessThan(stages.indexOf('release'));
    expect(stages.at(-1)).toBe('release');
  }
  expect(stagesOf({ mode: 'in-place' }).indexOf('load')).toBeLessThan(
    stagesOf({ mode: 'in-place' }).indexOf('quiesce'),
  );
  for (const mode of ['proof', 'clone'] as const) expect(stagesOf({ mode })).not.toContain('quiesce');
});

test.each([
  ['in-place', { database: 'b', files: ['b'] }],
  ['clone', { database: 'b', files: ['b'] }],
  ['proof', { database: 'b', files: ['b'] }],
  ['files-only', { database: 'now', files: ['b', 'now'] }],
  ['database-only', { database: 'b', files: ['b', 'now'] }],
] as const)('%s takes its database and its files from where they are to be', (mode, contents) => {
  expect(contentsOf({ mode, backupId: 'b', progress: { safetyBackupId: 'now' } })).toEqual(contents);
});
