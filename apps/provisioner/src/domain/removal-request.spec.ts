import { expect, test } from '@jest/globals';
import type { Service } from '#contracts/index.js';
import type { Footprint, Placed, Purpose } from './footprint.js';
import { removalOn, snapshotsMayBe } from './removal-request.js';

const made = (purpose: Purpose, change: Partial<Footprint> = {}) =>
  ({
    footprintId: 'f',
    instanceId: null,
    placed: { purpose, sourceInstanceId: purpose === 'spare' ? undefined : 'i' },
    state: 'standing',
    residence: null,
    approval: null,
    snapshotsGone: null,
    ...change,
  }) as Footprint;
const anInstances = (change: Partial<Footprint> = {}) =>
  made('restore', { instanceId: 'i', placed: { specification: {} } as Placed, state: 'ready', ...change });
const lived = { residence: { live: false, secret: 's', settled: true } };
const lives = { residence: { live: true, secret: 's', settled: true } };

test.each<[string, Service | undefined, Footprint, string]>([
  ['the planner, a spare', 'capacity-planner', made('spare'), 'remove'],
  ['the planner, a claimed spare', 'capacity-planner', made('spare', { instanceId: 'i' }), 'refuse IN_USE'],
  ['the planner, a restore', 'capacity-planner', made('restore'), 'refuse NOT_YOURS'],
  ['backup, a restore', 'backup', made('restore'), 'remove'],
  ['backup, a clone', 'backup', made('clone'), 'remove'],
  ['backup, a proof', 'backup', made('proof'), 'remove'],
  ['backup, a move', 'backup', made('move'), 'refuse NOT_YOURS'],
  ['backup, a spare', 'backup', made('spare'), 'refuse NOT_YOURS'],
  ['backup, a restore that was lived in', 'backup', made('restore', { instanceId: 'i', ...lived }), 'refuse IN_USE'],
  ['backup, an instance’s', 'backup', anInstances(), 'refuse IN_USE'],
  ['lifecycle, a move', 'lifecycle', made('move'), 'remove'],
  ['lifecycle, a clone that nobody lives in', 'lifecycle', made('clone'), 'remove'],
  ['lifecycle, a spare', 'lifecycle', made('spare'), 'refuse NOT_YOURS'],
  ['lifecycle, where the instance lives', 'lifecycle', anInstances(lives), 'refuse IN_USE'],
  ['lifecycle, where it lived', 'lifecycle', anInstances(lived), 'remove'],
  ['lifecycle, where it may live', 'lifecycle', anInstances(), 'unknown'],
  ['nobody of the mesh, a proof', undefined, made('proof'), 'refuse NOT_YOURS'],
])('asked by %s', (_, asker, footprint, expected) => {
  const verdict = removalOn(asker, footprint);
  expect(verdict.kind === 'refuse' ? `refuse ${verdict.code}` : verdict.kind).toBe(expected);
});

test.each([
  ['no approval asks for it', null, null, false],
  ['nobody has said that they are gone', { approvalId: 'a', awaitsSnapshots: true }, null, true],
  ['they were gone for another approval', { approvalId: 'a', awaitsSnapshots: true }, 'b', true],
  ['they are gone', { approvalId: 'a', awaitsSnapshots: true }, 'a', false],
  ['it was never Ready', { approvalId: 'a', awaitsSnapshots: false }, null, false],
])('snapshots, where %s', (_, approval, snapshotsGone, expected) => {
  expect(snapshotsMayBe(anInstances({ approval, snapshotsGone }))).toBe(expected);
});
