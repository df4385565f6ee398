import { expect, test } from '@jest/globals';
import { isSame } from './arbitration.js';
import { enter } from './entering.js';
import type { Instance, Live } from './instance.js';
import { withoutWhatFailed } from './moving.js';
import { type Operation, stagesOf } from './operation.js';
import { withoutClone } from './switching.js';

const live = { footprintId: 'f', database: 'd', image: 'odoo:18.0-1', secretVersion: 3, copies: 2 } as Live;
const clone = { ...live, footprintId: 'c', database: 'e', secretVersion: 1, lastSecretVersion: 1, copies: 0 };
const instance = { state: 'running', ownerWants: 'running', live, formerFootprints: [] } as unknown as Instance;
const input = { to: 'odoo:18.0-2', rehearse: true };
const rehearsal = {
  kind: 'upgrade',
  input,
  stage: 2,
  progress: { from: 'running', restored: clone },
} as unknown as Operation;
const now = new Date('2026-11-23T10:00:00.000Z');
const failure = { code: 'UPDATE_FAILED', fault: 'platform', message: '' } as const;

test('never takes the instance down', () => {
  expect(stagesOf(rehearsal, instance)).toEqual(['backup', 'clone', 'copy', 'update', 'tidy']);
});

test('is tried beside the first database of its clone, and the instance is as it was', () => {
  const [same, begun] = enter(instance, rehearsal, now, { database: 'd', formerHostMs: 0 });
  expect(same).toBe(instance);
  expect(begun.progress).toMatchObject({ copiedFrom: 'e' });
  expect(begun.progress.rehearsal).toMatchObject({
    ...{ footprintId: 'c', database: 'e_1', image: 'odoo:18.0-2', secretVersion: 2, copies: 1 },
  });
  const failed = { ...begun, stage: 0, progress: { ...begun.progress, failure } };
  expect(stagesOf(failed, instance)).toEqual(['tidy']);
  expect(stagesOf({ ...failed, progress: { ...failed.progress, fellThrough: true } }, instance)).toEqual([]);
  expect(withoutWhatFailed(instance, failed)).toEqual(instance);
});

test('leaves a clone whose removal is due, once', () => {
  const left = withoutClone(instance, clone, now);
  expect(left.formerFootprints).toEqual([{ live: clone, kept: null, until: now.toISOString(), removal: 'due' }]);
  expect(withoutClone(left, clone, now)).toBe(left);
  expect(withoutClone(instance, undefined, now)).toBe(instance);
});

test('is not the same as the upgrade', () => {
  expect(isSame(rehearsal, { kind: 'upgrade', input: { to: input.to } })).toBe(false);
  expect(isSame(rehearsal, { kind: 'upgrade', input })).toBe(true);
});
