import { readFileSync } from 'node:fs';
import { expect, test } from '@jest/globals';
import { registry } from '#contracts/index.js';
import { type Beside, explain } from './explanation.js';
import { urlAt, urlBeside, viewStates } from './instance-view.js';
import { stateOfOperation } from './operation.js';
import { progressOf } from './restore-view.js';
import { tell } from './timeline.js';

const aboutInstances = registry.filter(
  (one) => one.kind === 'fact' && 'instanceId' in (one.data as unknown as { shape: object }).shape,
);
/** About a backup of an instance whose name it does not say. */
const told = [...aboutInstances.map((one) => one.key), 'backup.hold-refused.v1'];

const example = (key: string) => JSON.parse(readFileSync(`libs/contracts/fixtures/${key}/example.json`, 'utf8')).data;

test.each(told)('%s is told in a sentence with all its words', (key) => {
  const { fact, summary } = tell(key, example(key));
  expect(fact).toBe(key.replace('.v1', ''));
  expect(summary).toMatch(/^[A-Z].*\.$/);
  expect(summary).not.toMatch(/undefined|was said/);
});

test.each([
  ['instance.stopped.v1', { durationMs: 0 }, 'It stands still, as before.'],
  ['instance.suspended.v1', { durationMs: 12, why: 'unpaid' }, 'It is suspended after 12 ms: unpaid.'],
  ['instance.operation-refused.v1', { operation: 'cancel-termination' }, /^Refused to cancel termination: /],
  ['instance.upgrade-failed.v1', { rolledBack: false }, /it is not on its old image/],
  ['instance.upgraded.v1', { rehearsed: true, warnings: ['a', 'b'] }, /^A rehearsal .* went well, with 2 warnings\.$/],
  ['instance.released.v1', { expired: true }, /^The deadline has passed/],
  ['instance.purge-approved.v1', { backupId: undefined, neverReady: true }, /it was never Ready\.$/],
  [
    'instance.renamed.v1',
    { customDomains: ['erp.acme.example'] },
    'It is found at https://acme-trading.example.com instead of acme.example.com, and at erp.acme.example.',
  ],
  [
    'instance.renamed.v1',
    { previousHost: 'acme-trading.example.com' },
    'It is found at https://acme-trading.example.com.',
  ],
  ['host.released.v1', { atOnce: true }, 'Its name acme.example.com is free.'],
  ['backup.verified.v1', { depth: 'full', rtoMs: 70 }, /good: it was restored in 70 ms/],
  ['backup.verified.v1', { depth: 'full', rtoMs: undefined }, /good: it was restored[,.]/],
  ['backup.verified.v1', { depth: 'light', offSite: false, filesSeen: 'read' }, /its copies were looked at\.$/],
  ['backup.verified.v1', { filesSeen: 'simulated' }, /though a simulated node has no files/],
  ['backup.hold-changed.v1', { held: false, reason: 'settled' }, 'A backup is held no more: settled.'],
  [
    'restore.progressed.v1',
    { step: 'safety-backup', steps: ['footprint', 'safety-backup', 'files'], message: 'it is being made' },
    'A restore is at step 2 of 3 (safety backup): it is being made.',
  ],
  ['restore.completed.v1', { mode: 'clone', to: undefined }, 'A clone was made of a backup of it.'],
  ['restore.completed.v1', { mode: 'files-only', durationMs: 12 }, 'It was restored (files only) after 12 ms.'],
])('%s with %j is told as it is', (key, change, sentence) => {
  expect(tell(key, { ...example(key), ...change }).summary).toMatch(sentence);
});

test.each([
  ['instance.suspended.v1', { why: 'abuse' }, 'abuse', 'user'],
  ['instance.suspended.v1', { why: 'operator' }, 'operator', 'platform'],
  ['instance.operation-failed.v1', { code: 'X', fault: 'provider' }, 'X', 'provider'],
  ['placement.change-refused.v1', { code: 'cell-full', fault: 'platform' }, 'cell-full', 'platform'],
  ['backup.failed.v1', { code: 'DUMP_FAILED', fault: 'platform' }, 'DUMP_FAILED', 'platform'],
  ['backup.hold-refused.v1', { code: 'UNKNOWN_BACKUP', fault: 'user' }, 'UNKNOWN_BACKUP', 'user'],
  ['restore.refused.v1', { code: 'OTHER_INSTANCE', fault: 'user' }, 'OTHER_INSTANCE', 'user'],
])('%s with %j says why, and whose fault it is', (key, change, reason, fault) => {
  expect(tell(key, { ...example(key), ...change })).toMatchObject({ reason, fault });
});

test.each(viewStates)('an instance that is %s is explained, with or without a reason we know', (state) => {
  for (const reason of [null, 'PodNotReady', 'NeverHeardOf'])
    expect(explain({ state, reason, step: null, operation: null })).toMatchObject({
      ...{ state, reason, next: expect.stringMatching(/\.$/) },
    });
});

const explained = (state: (typeof viewStates)[number], reason: string | null, more: object = {}) =>
  explain({ state, reason, step: null, operation: null, ...more });

test.each([
  ['unpaid', 'user', /pay/, /^Billing lifts it/],
  ['abuse', 'user', /abuse/, /^An operator lifts it/],
  ['operator', 'platform', /an operator/, /actions\/resume/],
])('suspended for %s says why, and who lifts it', (reason, fault, waitsFor, next) => {
  expect(explained('suspended', reason)).toMatchObject({
    ...{ fault, waitsFor: expect.stringMatching(waitsFor), next: expect.stringMatching(next) },
  });
});

test.each(['ready', 'started', 'restarted', 'resumed', 'resized', 'upgraded', 'released', 'termination-cancelled'])(
  'running because it was %s waits for nothing',
  (reason) => expect(explained('running', reason)).toMatchObject({ waitsFor: null, fault: null }),
);

test.each([
  ['running', 'stop-failed'],
  ['stopped', 'start-failed'],
  ['terminating', 'waits-for-final-backup'],
] as const)('%s because of %s is somebody’s turn', (state, reason) => {
  expect(explained(state, reason)).toMatchObject({ waitsFor: expect.any(String), fault: 'platform' });
});

test.each([
  [null, null, 'the provisioner, who has not begun yet'],
  ['requested', null, 'the provisioner, who has not begun yet'],
  ['requested', 'volume', 'the next step of its making'],
  ['PodNotReady', 'volume', 'Odoo to start'],
  ['requested', 'ready', 'lifecycle, who has not taken it over yet'],
])('provisioning with reason %s after step %s waits for %s', (reason, step, waitsFor) => {
  expect(explained('provisioning', reason, { step })).toMatchObject({ waitsFor });
});

const operations = [
  ...['start', 'stop', 'restart', 'suspend', 'resume', 'resize', 'upgrade', 'rename'],
  ...['quiesce', 'release', 'terminate', 'cancel-termination'],
];

test.each(operations)('what a %s that is under way waits for is told, whatever the state', (operation) => {
  const { waitsFor, next } = explained('running', 'ready', { operation: { operationId: '7', operation } });
  expect(waitsFor).not.toMatch(/undefined|of it to end/);
  expect(next).toMatch(/then.*\.$/);
});

test('an operation that nobody knows yet is named', () => {
  const operation = { operationId: '7', operation: 'dance' };
  expect(explained('running', 'ready', { operation }).waitsFor).toBe('its dance to end');
});

const steps = ['footprint', 'database', 'files'];
const restore = (
  state: 'requested' | 'running',
  mode: 'in-place' | 'clone',
  step: string | null,
): NonNullable<Beside['restore']> => ({
  ...{ state, mode, step, steps: step === null ? null : steps, stepSince: step === null ? null : new Date() },
});

test.each([
  ['running', 'in-place', 'database', 'its restore from a backup, at step 2 of 3 (database)'],
  ['maintenance', 'in-place', 'files', 'its restore from a backup, at step 3 of 3 (files)'],
  ['requested', 'clone', 'footprint', 'the restore that it is made by, at step 1 of 3 (footprint)'],
  ['stopped', 'in-place', null, 'the backup service, who takes the restore from its queue'],
] as const)('%s with a restore (%s) at step %s waits for it', (state, mode, step, waitsFor) => {
  const of = restore(step ? 'running' : 'requested', mode, step);
  const view = { state, reason: null, step: null, operation: null };
  expect(explain(view, { restore: of })).toMatchObject({ waitsFor, fault: 'platform' });
});

test.each([
  ['quiesce', /^its restore/],
  ['release', /^its restore/],
  ['stop', 'its pod to end'],
])('with a restore that goes on, and a %s under way, it waits for %s', (operation, waitsFor) => {
  const view = { state: 'running', reason: null, step: null, operation: { operationId: '7', operation } } as const;
  const said = explain(view, { restore: restore('running', 'in-place', 'files') });
  expect(said.waitsFor).toMatch(waitsFor);
});

test('what is suspended or ends is not explained by a restore', () => {
  const of = { restore: restore('running', 'in-place', 'files') };
  for (const state of ['suspended', 'terminating', 'purging', 'terminated', 'refused'] as const)
    expect(explain({ state, reason: null, step: null, operation: null }, of)).toEqual(explained(state, null));
});

test.each([
  [undefined, /to be made and verified/, /not destroyed without one/],
  ['completed', /which was made, to be verified/, /destroyed then/],
  ['failed', /somebody who mends why its final backup failed/, /\/v1\/backups\/b-7/],
  ['expired', /to be made and verified/, /not destroyed without one/],
] as const)('an end that waits for its final backup, which is %s, says so', (state, waitsFor, next) => {
  const view = { state: 'terminating', reason: 'waits-for-final-backup', step: null, operation: null } as const;
  const said = explain(view, { finalBackup: state && { backupId: 'b-7', state } });
  expect(said).toMatchObject({ fault: 'platform' });
  expect(said.waitsFor).toMatch(waitsFor);
  expect(said.next).toMatch(next);
});

test('a restore of which no step was told is not at any', () => {
  expect(progressOf({ step: null, steps: null, stepSince: null })).toBeNull();
});

test.each([
  [{ url: 'https://acme.example.com', host: 'acme.example.com' }, 'copy', 'https://copy.example.com'],
  [{ url: 'http://acme.localhost:8080', host: 'acme.localhost' }, 'copy', 'http://copy.localhost:8080'],
  [{ url: null, host: 'acme.localhost' }, 'copy', null],
  [{ url: 'http://acme.localhost', host: 'acme.localhost' }, 'No/Name', null],
])('beside %j, %s will be found at %s', (view, slug, url) => expect(urlBeside(view, slug)).toBe(url));

test.each([
  ['https://acme.example.com', 'acme.example.com', 'https://acme.example.com'],
  ['http://acme.localhost:8080/', 'new.localhost', 'http://new.localhost:8080/'],
  [null, 'acme.example.com', null],
])('seen ready at %s and now at host %s it is found at %s', (url, host, at) => expect(urlAt(url, host)).toBe(at));

const after = (facts: readonly string[], more: { making?: boolean; ended?: boolean; ends?: string } = {}) =>
  stateOfOperation({
    operationId: 'o-1',
    facts: facts.map((fact) => ({ fact, ends: more.ends ?? null })),
    making: more.making ?? false,
    ended: more.ended ?? false,
  });

test.each([
  [[], 'pending'],
  [['instance.placed', 'instance.provisioning-started', 'instance.provisioning-progressed'], 'pending'],
  [['instance.placed', 'instance.provisioning-failed'], 'failed'],
  [['instance.provisioning-failed', 'instance.provisioning-started'], 'pending'],
  [['instance.provisioning-started', 'instance.ready'], 'succeeded'],
  [['instance.placed', 'instance.provisioning-failed', 'instance.terminated'], 'failed'],
  [['instance.placed', 'instance.provisioning-cancelled', 'instance.terminated'], 'failed'],
  [['instance.refused'], 'refused'],
] as const)('after %j the making of an instance is %s', (facts, state) =>
  expect(after(facts, { making: true })).toBe(state),
);

test('a making whose instance was ended by somebody before it was Ready has failed; one that was Ready has not', () => {
  expect(after(['instance.placed'], { making: true, ended: true })).toBe('failed');
  expect(after(['instance.placed', 'instance.ready'], { making: true, ended: true })).toBe('succeeded');
});

test('a request that was refused beside an instance that is there is refused', () => {
  expect(after(['instance.refused'])).toBe('refused');
});

test.each([
  ['instance.stopped', 'succeeded'],
  ['instance.upgraded', 'succeeded'],
  ['instance.termination-scheduled', 'succeeded'],
  ['instance.upgrade-failed', 'failed'],
  ['instance.operation-failed', 'failed'],
  ['instance.operation-refused', 'refused'],
  ['backup.completed', 'succeeded'],
  ['backup.failed', 'failed'],
  ['backup.refused', 'refused'],
  ['backup.hold-changed', 'succeeded'],
  ['backup.hold-refused', 'refused'],
  ['restore.completed', 'succeeded'],
  ['restore.failed', 'failed'],
  ['restore.refused', 'refused'],
] as const)('an action that %s ends is %s; the end of another one on its way says nothing', (fact, state) => {
  expect(after([fact], { ends: 'o-1' })).toBe(state);
  expect(after([fact], { ends: 'o-2' })).toBe('pending');
  expect(after([fact])).toBe('pending');
});

test.each([
  [['host.reserved', 'instance.state-changed', 'backup.completed'], 'pending'],
  [['placement.change-refused'], 'pending'],
  // A retry has done what it was asked for; how the making goes on is the making's affair.
  [['instance.provisioning-started'], 'succeeded'],
  [['instance.purge-approved', 'instance.terminated'], 'succeeded'],
] as const)('after %j an operation that made nothing is %s', (facts, state) => expect(after(facts)).toBe(state));

test.each(['instance.provisioning-started', 'instance.ready', 'instance.provisioning-failed'])(
  'a restore whose clone says %s later on has ended with the restore',
  (later) => {
    const facts = [
      { fact: 'restore.progressed', ends: null },
      { fact: 'restore.completed', ends: 'o-1' },
      { fact: 'instance.placed', ends: null },
      { fact: later, ends: null },
    ];
    expect(stateOfOperation({ operationId: 'o-1', facts, making: true, ended: false })).toBe('succeeded');
    expect(stateOfOperation({ operationId: 'o-1', facts: facts.slice(0, 1), making: true, ended: false })).toBe(
      'pending',
    );
  },
);
