import { expect, test } from '@jest/globals';
import { instanceStates } from '#contracts/index.js';
import { inTheWay, nothingToBackUp } from './instance.js';

const now = new Date('2026-11-23T10:00:00Z');
const live = { footprintId: 'f', database: 'd', volumeClaim: 'v', image: 'i' };

test('there is something to back up from Ready on, until it is destroyed', () => {
  const can = instanceStates.filter((state) => !nothingToBackUp({ state, live }));
  expect(can).toEqual(['running', 'stopped', 'hibernated', 'suspended', 'maintenance', 'terminating']);
  expect(nothingToBackUp({ state: null, live: null })).toMatchObject({ code: 'NOT_READY' });
});

const held = { state: 'maintenance' as const, quiesce: { token: 't', deadline: '2026-11-23T10:05:00.000Z' } };

test('who holds an instance is left alone, and backs it up by his token', () => {
  expect(inTheWay(held, { why: 'safety', token: null }, now)).toMatchObject({ reason: 'Quiesced' });
  expect(inTheWay(held, { why: 'final', token: 'other' }, now)).toMatchObject({ reason: 'Quiesced' });
  expect(inTheWay(held, { why: 'safety', token: 't' }, now)).toBeUndefined();
});

test('a hold whose deadline has passed is none, though nobody has said so yet', () => {
  const late = new Date('2026-11-23T10:06:00Z');
  expect(inTheWay(held, { why: 'safety', token: null }, late)).toBeUndefined();
});

test('what is being changed is backed up by whoever changes it alone', () => {
  const changed = { state: 'maintenance' as const, quiesce: null };
  for (const why of ['scheduled', 'manual'])
    expect(inTheWay(changed, { why, token: null }, now)).toMatchObject({ reason: 'Maintenance' });
  for (const why of ['pre-upgrade', 'final', 'safety'])
    expect(inTheWay(changed, { why, token: null }, now)).toBeUndefined();
});
