import { expect, test } from '@jest/globals';
import { findPlan } from '#odoo/index.js';
import { enter } from './entering.js';
import { type FormerFootprint, type Instance, type Live, newborn, previousFootprintOf } from './instance.js';
import { withoutWhatFailed } from './moving.js';
import { isSo, type Operation, type OperationKind, refusalOf, stagesOf } from './operation.js';
import {
  livingIn,
  type ReadyFootprint,
  refusalOfSwitch,
  refusalOfSwitchBack,
  switched,
  targetOf,
} from './switching.js';

const [first, second, third] = ['1', '2', '3'].map((n) => `0199f3c2-79d0-7aa2-8a15-00000000000${n}`) as [
  string,
  string,
  string,
];
const template = { image: 'odoo:18.0-1', version: '18.0', bundle: 'apps', language: 'en_US', database: 'template' };
const starter = { name: 'starter', version: findPlan('starter')!.version };
const business = { name: 'business', version: findPlan('business')!.version };
const now = new Date('2026-11-23T10:00:00.000Z');
const until = '2026-11-25T10:00:00.000Z';

const placed = {
  ...{ instanceId: 'i', footprintId: first, cell: 'c0', namespace: 'n0', databaseShard: 's0', template, plan: starter },
  host: 'a.example.com',
} as unknown as Instance['placed'];
const instance: Instance = {
  ...newborn(placed, now, { traceparent: null, correlationId: 'c' }, { database: 'd1' }),
  ...{ state: 'maintenance', epoch: 5, everReady: true },
};
const told: ReadyFootprint['ready'] = {
  ...{ footprintId: second, purpose: 'restore', cell: 'c1', namespace: 'n1', databaseShard: 's1', template },
  ...{ plan: starter, sourceInstanceId: 'i', database: 'd2', role: 'd2', secret: 'o2-v1', volumeClaim: 'o2' },
};
const ready: ReadyFootprint = { ready: told, removed: false };
const former = (change: Partial<FormerFootprint> = {}): FormerFootprint => ({
  live: { ...instance.live, footprintId: third, database: 'd3', secretVersion: 4, lastSecretVersion: 4 },
  ...{ kept: null, until, removal: null },
  ...change,
});
const operation = (kind: OperationKind, input: Operation['input'], progress: Operation['progress'] = {}) =>
  ({ kind, input, progress, stage: 0, spentMs: 0, seenAt: null }) as unknown as Operation;

test.each<[string, Partial<Instance>, string, ReadyFootprint | undefined, string | undefined]>([
  ['that is Ready', {}, second, ready, undefined],
  ['that nobody knows', {}, second, undefined, 'UNKNOWN_FOOTPRINT'],
  ['that is gone', {}, second, { ...ready, removed: true }, 'FOOTPRINT_REMOVED'],
  ['of another', {}, second, { ...ready, ready: { ...told, sourceInstanceId: 'j' } }, 'OTHER_INSTANCE'],
  ['of nobody', {}, second, { ...ready, ready: { ...told, sourceInstanceId: undefined } }, 'OTHER_INSTANCE'],
  [
    'of another Odoo',
    {},
    second,
    { ...ready, ready: { ...told, template: { ...template, version: '19.0' } } },
    'OTHER_VERSION',
  ],
  [
    'of a plan that is none',
    {},
    second,
    { ...ready, ready: { ...told, plan: { name: 'gold', version: 1 } } },
    'UNKNOWN_PLAN',
  ],
  ['that it lives in', {}, first, undefined, 'IS_LIVE'],
  ['that it lived in before', { formerFootprints: [former()] }, third, undefined, undefined],
  [
    'that it lived in before and that is going',
    { formerFootprints: [former({ removal: 'asked' })] },
    third,
    undefined,
    'FOOTPRINT_REMOVED',
  ],
])('a switch to a footprint %s', (_, change, footprintId, footprint, code) => {
  expect(refusalOfSwitch({ ...instance, ...change }, footprintId, footprint)?.code).toBe(code);
});

test('only what is kept can be switched back to', () => {
  const back = (formerFootprints: FormerFootprint[]) => refusalOfSwitchBack({ formerFootprints }, third)?.code;
  expect(back([former()])).toBeUndefined();
  for (const removal of ['asked', 'due'] as const) expect(back([former({ removal })])).toBe('NOT_KEPT');
  expect(back([])).toBe('NOT_KEPT');
});

test('a release is judged by its token first', () => {
  const release = operation('release', { token: 't', footprintId: second });
  expect(refusalOf(instance, release, now, ready)?.code).toBe('TOKEN_DEAD');
  const quiesce = { token: 't', purpose: 'restore', deadline: until, operationId: 'o', ran: true };
  expect(refusalOf({ ...instance, quiesce }, release, now, ready)).toBeUndefined();
  expect(refusalOf({ ...instance, quiesce }, release, now)?.code).toBe('UNKNOWN_FOOTPRINT');
});

test('who lives there already is there', () => {
  const back = operation('switch-back', { footprintId: first });
  expect(isSo({ ...instance, state: 'running' }, back)).toBe(true);
  expect(isSo(instance, back)).toBe(false);
});

test('wherever it lives, its plan and its names are its own, and what is there is fitted to them', () => {
  const formerHosts = [{ host: 'b.example.com', until }];
  const customDomains = [{ host: 'a.acme.example', reservation: 'r1' }];
  const named = { ...instance, live: { ...instance.live, formerHosts, customDomains } };
  const target = targetOf(named, second, ready);
  expect(target).toMatchObject({ footprintId: second, database: 'd2', image: 'odoo:18.0-1', copies: 0 });
  expect(target.place).toEqual({ cell: 'c1', namespace: 'n1', databaseShard: 's1', template });
  expect(livingIn(target, named)).toMatchObject({
    secretVersion: 1,
    plan: starter,
    host: 'a.example.com',
    formerHosts,
    customDomains,
  });

  const resized = { ...named, live: { ...named.live, plan: business } };
  expect(livingIn(target, resized)).toMatchObject({
    ...{ secretVersion: 2, lastSecretVersion: 2, plan: business },
    storageBytes: findPlan('business')!.storageBytes,
  });
  // A name that it gave up meanwhile does not come back with a footprint.
  const back = livingIn({ ...target, formerHosts, customDomains }, instance);
  for (const names of ['formerHosts', 'customDomains']) expect(back).not.toHaveProperty(names);
});

test('it is taken over stage by stage, and started only where it is to run', () => {
  const release = operation('release', { token: 't', footprintId: second });
  expect(stagesOf(release, instance)).toEqual(['switch', 'up']);
  expect(stagesOf(release, { ...instance, ownerWants: 'stopped' })).toEqual(['switch']);
  expect(stagesOf(operation('release', { token: 't' }), instance)).toEqual(['up']);
  const back = (from: 'running' | 'stopped') => operation('switch-back', { footprintId: third }, { from });
  expect(stagesOf(back('running'), instance)).toEqual(['down', 'fence', 'switch', 'up']);
  expect(stagesOf(back('stopped'), instance)).toEqual(['down', 'fence', 'switch']);
});

const failure = { code: 'NOT_READY_IN_TIME', fault: 'platform', message: '' } as const;
const settings = { database: 'd', formerHostMs: 0 };

test('one that fails is back where it was, which nobody has touched', () => {
  const resized = { ...instance, live: { ...instance.live, plan: business } };
  const target = targetOf(resized, second, ready);
  const release = operation('release', { token: 't', footprintId: second }, { from: 'maintenance', target });
  const [there, begun] = enter(resized, release, now, settings);
  expect(there).toMatchObject({ epoch: 6, live: { footprintId: second, secretVersion: 2 } });
  expect(begun.progress.before).toEqual(resized.live);

  const failed = { ...begun, progress: { ...begun.progress, failure } };
  expect(stagesOf(failed, there)).toEqual(['switch', 'up']);
  const [again, back] = enter(there, failed, now, settings);
  expect(again).toMatchObject({ epoch: 7, live: resized.live });
  expect(back.progress.tried).toEqual(there.live);
  expect(withoutWhatFailed({ ...again, quiesce: {} as Instance['quiesce'] }, back)).toMatchObject({
    ...{ state: 'running', reason: 'release-failed', quiesce: null, live: resized.live, formerFootprints: [] },
  });
  const fell = { ...back, progress: { ...back.progress, fellThrough: true } };
  expect(stagesOf(fell, again)).toEqual(['down']);
  expect(withoutWhatFailed(again, fell)).toMatchObject({ state: 'stopped', live: resized.live });
});

test('a Secret that was made for a switch back that failed is never made again', () => {
  const resized = { ...instance, live: { ...instance.live, plan: business }, formerFootprints: [former()] };
  const target = targetOf(resized, third, undefined);
  const input = { footprintId: third };
  const back = { ...operation('switch-back', input, { from: 'running', target }), stage: 2 };
  const [there, begun] = enter(resized, back, now, settings);
  expect(there.live).toMatchObject({ footprintId: third, secretVersion: 5 });
  const failed = { ...begun, stage: 0, progress: { ...begun.progress, failure } };
  const [again] = enter(there, failed, now, settings);
  expect(again.live).toEqual(resized.live);
  expect(again.formerFootprints[0]!.live).toMatchObject({ secretVersion: 4, lastSecretVersion: 5 });
});

test('what it lived in is kept with all that is in it, and comes back with it', () => {
  const kept = { database: 'd1_0', image: 'odoo:18.0-0', until };
  const there: Live = { ...instance.live, footprintId: second };
  const once = switched({ ...instance, kept, live: there }, instance.live, until);
  expect(once.kept).toBeNull();
  expect(once.formerFootprints).toEqual([{ live: instance.live, kept, until, removal: null }]);
  expect(previousFootprintOf(once)).toBe(first);

  const back = switched({ ...once, live: instance.live }, there, until);
  expect(back.kept).toEqual(kept);
  expect(back.formerFootprints.map(({ live }) => live.footprintId)).toEqual([second]);

  // Both are kept where it is switched once more.
  const twice = switched({ ...once, live: { ...there, footprintId: third } }, there, until);
  expect(twice.formerFootprints.map(({ live }) => live.footprintId)).toEqual([first, second]);
  expect(previousFootprintOf(twice)).toBe(second);
});
