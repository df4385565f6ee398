import { expect, test } from '@jest/globals';
import type { Footprint, Placed, Purpose } from './footprint.js';
import { removalOn } from './removal-request.js';
import { becomesHome, leftBehind, type Word } from './residence.js';

const made = (purpose: Purpose, sourceInstanceId?: string, change: Partial<Footprint> = {}) =>
  ({
    footprintId: 'f',
    instanceId: null,
    placed: { purpose, sourceInstanceId },
    state: 'standing',
    residence: null,
    ...change,
  }) as Footprint;
const anInstances = made('restore', undefined, {
  instanceId: 'i',
  placed: { specification: {} } as Placed,
  state: 'ready',
});
const word: Word = { instanceId: 'i', footprintId: 'f', secret: 's2', state: 'running' };
const trying: Word = { ...word, state: 'maintenance' };

test('the footprint that an instance is switched to is its own from then on, also when it has left it', () => {
  const tried = becomesHome(trying, made('restore', 'i'))!;
  const home = becomesHome(word, tried)!;
  expect(home).toMatchObject({ instanceId: 'i', state: 'ready', residence: { live: true, secret: 's2' } });
  expect(removalOn('backup', home)).toMatchObject({ code: 'IN_USE' });
  const left = leftBehind(becomesHome(trying, home)!);
  expect(left).toMatchObject({ instanceId: 'i', state: 'ready', residence: { live: false, secret: 's2' } });
  expect(removalOn('backup', left)).toMatchObject({ code: 'IN_USE' });
  expect(removalOn('lifecycle', left)).toEqual({ kind: 'remove' });
});

test('a footprint that an instance was only tried on is nobody’s again', () => {
  const tried = becomesHome(trying, made('restore', 'i'))!;
  expect(removalOn('backup', tried)).toMatchObject({ code: 'IN_USE' });
  const left = leftBehind(tried);
  expect(left).toMatchObject({ instanceId: null, state: 'standing', residence: null });
  expect(removalOn('backup', left)).toEqual({ kind: 'remove' });
});

test('the footprint that an instance was made in stays its own when it has left it', () => {
  const left = leftBehind(becomesHome(trying, anInstances)!);
  expect(left).toMatchObject({ instanceId: 'i', state: 'ready', residence: { live: false } });
  expect(leftBehind(anInstances)).toMatchObject({ instanceId: 'i', residence: { live: false, secret: null } });
});

test.each<[string, Footprint]>([
  ['a spare', made('spare')],
  ['one that was made for another instance', made('restore', 'j')],
  ['another instance’s', { ...anInstances, instanceId: 'j' }],
])('no instance is switched to %s', (_, footprint) => {
  expect(becomesHome(word, footprint)).toBeUndefined();
});
