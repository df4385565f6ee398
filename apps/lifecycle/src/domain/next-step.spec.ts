import { expect, test } from '@jest/globals';
import { afterStep, nextStep, nextStepOfRoute, type Seen } from './next-step.js';

const epoch = 7;
const runs: Seen = {
  secret: true,
  workload: { version: '1', epoch, replicas: 1, ready: true },
  pods: 1,
  route: { uid: 'u', version: '1', epoch, to: 'instance' },
  site: 'answers',
};
const stands: Seen = {
  ...runs,
  workload: { version: '1', epoch, replicas: 0, ready: true },
  pods: 0,
  route: { uid: 'u', version: '1', epoch, to: 'edge' },
  site: 'unasked',
};
const older = epoch - 1;

test('what runs is up, and what stands still is down', () => {
  expect(nextStep(runs, 'up', epoch)).toBeUndefined();
  expect(nextStep(stands, 'down', epoch)).toBeUndefined();
  expect(nextStep({ ...runs, site: 'simulated' }, 'up', epoch)).toBeUndefined();
});

test('going down, the host leads away before the pod ends, and the last pod is waited for', () => {
  const at = (change: object) => nextStep({ ...runs, ...change }, 'down', epoch);
  const away = { route: { uid: 'u', version: '1', epoch, to: 'edge' } };
  const none = { ...away, workload: { version: '1', epoch, replicas: 0, ready: true } };
  expect(at({})).toEqual({ kind: 'act', what: 'route' });
  expect(at(away)).toEqual({ kind: 'act', what: 'workload' });
  expect(at(none)).toMatchObject({ kind: 'wait', reason: 'PodStillThere' });
  expect(at({ ...none, pods: 0 })).toBeUndefined();
});

test('coming up, the host leads there only when the pod is Ready, and it is up when it answers', () => {
  const at = (change: object) => nextStep({ ...stands, ...change }, 'up', epoch);
  const starting = { workload: { version: '1', epoch, replicas: 1, ready: false } };
  const ready = { workload: { version: '1', epoch, replicas: 1, ready: true } };
  const led = { ...ready, route: { uid: 'u', version: '1', epoch, to: 'instance' } };
  expect(at({ secret: false })).toEqual({ kind: 'act', what: 'secret' });
  expect(at({})).toEqual({ kind: 'act', what: 'workload' });
  expect(at(starting)).toMatchObject({ kind: 'wait', reason: 'PodNotReady' });
  expect(at(ready)).toEqual({ kind: 'act', what: 'route' });
  expect(at({ ...led, site: { instead: 'answered with 502' } })).toMatchObject({
    reason: 'SiteNotAnswering',
    soon: true,
  });
  expect(at({ ...led, site: 'answers' })).toBeUndefined();
});

test('a route is written anew under its epoch, and where the site was asked it has to answer', () => {
  const at = (seen: object, to: 'instance' | 'edge' = 'instance') => nextStepOfRoute({ ...runs, ...seen }, to, epoch);
  expect(at({})).toBeUndefined();
  expect(at({ route: 'absent' })).toEqual({ kind: 'act', what: 'route' });
  expect(at({ route: { uid: 'u', version: '1', epoch: older, to: 'instance' } })).toEqual({
    kind: 'act',
    what: 'route',
  });
  expect(at({}, 'edge')).toEqual({ kind: 'act', what: 'route' });
  expect(at({ site: { instead: 'answered with 404' } })).toMatchObject({ reason: 'SiteNotAnswering', soon: true });
  expect(at({ route: { uid: 'u', version: '1', epoch: epoch + 1, to: 'edge' } })).toEqual({ kind: 'overtaken' });
  expect(nextStepOfRoute(stands, 'edge', epoch)).toBeUndefined();
});

test('what was applied for an earlier operation is applied anew', () => {
  const workload = { version: '1', epoch: older, replicas: 1, ready: true };
  expect(nextStep({ ...runs, workload }, 'up', epoch)).toEqual({ kind: 'act', what: 'workload' });
  const route = { uid: 'u', version: '1', epoch: older, to: 'edge' } as const;
  expect(nextStep({ ...stands, route }, 'down', epoch)).toEqual({ kind: 'act', what: 'route' });
});

test('nothing is done against a later word', () => {
  const workload = { version: '1', epoch: epoch + 1, replicas: 1, ready: true };
  for (const stage of ['up', 'down'] as const)
    expect(nextStep({ ...runs, workload }, stage, epoch)).toEqual({ kind: 'overtaken' });
});

test('a cell without room says so', () => {
  const refusal = { reason: 'FailedCreate', message: 'exceeded quota: cell' };
  const workload = { version: '1', epoch, replicas: 1, ready: false, refusal };
  expect(nextStep({ ...stands, workload }, 'up', epoch)).toMatchObject({ kind: 'wait', reason: 'CELL_FULL' });
});

test('a step of ours is enough to know the next one by, and never enough to be done', () => {
  const standing: Seen = { ...runs, workload: { version: '1', epoch: older, replicas: 1, ready: true } };
  const afterRoute = afterStep(
    { ...standing, route: { uid: 'u', version: '1', epoch: older, to: 'instance' } },
    'route',
    'edge',
    epoch,
  );
  expect(nextStep(afterRoute, 'down', epoch)).toEqual({ kind: 'act', what: 'workload' });
  const afterWorkload = afterStep(afterRoute, 'workload', 'edge', epoch);
  expect(nextStep(afterWorkload, 'down', epoch)).toMatchObject({ kind: 'wait', reason: 'PodStillThere' });
  const coming = afterStep({ ...stands, secret: false }, 'secret', 'instance', epoch);
  expect(nextStep(coming, 'up', epoch)).toEqual({ kind: 'act', what: 'workload' });
  expect(nextStep(afterStep(coming, 'workload', 'instance', epoch), 'up', epoch)).toMatchObject({
    reason: 'PodNotReady',
  });
});
