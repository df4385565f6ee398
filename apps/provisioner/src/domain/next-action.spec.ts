import { expect, test } from '@jest/globals';
import { type Action, afterStep, nextAction, type Observed } from './next-action.js';

const nothing: Observed = {
  secret: 'absent',
  volumeClaim: 'absent',
  role: 'absent',
  database: 'absent',
  deployment: 'absent',
  routed: false,
  site: 'unasked',
};
const everything: Observed = {
  secret: 'present',
  volumeClaim: 'bound',
  role: 'ours',
  database: 'personal',
  deployment: { ready: true },
  routed: true,
  site: 'answers',
};

test.each<[string, Observed, string]>([
  ['nothing', nothing, 'act secret'],
  ['a secret', { ...nothing, secret: 'present' }, 'act volume'],
  ['a claim that is not bound', { ...nothing, secret: 'present', volumeClaim: 'pending' }, 'act role'],
  ['a role', { ...nothing, secret: 'present', volumeClaim: 'pending', role: 'ours' }, 'act database'],
  ['half a copy', { ...everything, database: 'copying', deployment: 'absent' }, 'act database'],
  ['a copy', { ...everything, database: 'owned', deployment: 'absent' }, 'act tenant'],
  ['a database, but no volume', { ...everything, volumeClaim: 'pending', deployment: 'absent' }, 'wait VolumePending'],
  ['all that a pod needs', { ...everything, deployment: 'absent', routed: false }, 'act workload'],
  ['a deployment without route', { ...everything, routed: false }, 'act workload'],
  ['a pod that starts', { ...everything, deployment: { ready: false } }, 'wait PodNotReady'],
  ['a deployment that goes away', { ...everything, deployment: 'terminating' }, 'wait DeploymentTerminating'],
  ['a claim that goes away', { ...everything, volumeClaim: 'terminating' }, 'wait VolumeTerminating'],
  ["somebody else's role", { ...nothing, role: 'foreign' }, 'fail FOREIGN_ROLE'],
  ["somebody else's database", { ...nothing, database: 'foreign' }, 'fail FOREIGN_DATABASE'],
  [
    'a quota that is used up',
    {
      ...everything,
      deployment: { ready: false, refusal: { reason: 'FailedCreate', message: 'exceeded quota: cell' } },
    },
    'wait CELL_FULL',
  ],
  ['a site that is not there yet', { ...everything, site: { instead: 'a 404' } }, 'wait SiteNotAnswering'],
  ['a workload whose site nobody asked', { ...everything, site: 'unasked' }, 'nothing to do'],
  ['a simulated workload', { ...everything, site: 'simulated' }, 'nothing to do'],
  ['everything', everything, 'nothing to do'],
  ['a database that a backup fills', { ...everything, database: 'filled' }, 'wait DatabaseNotFilled'],
])('seeing %s', (_, observed, expected) => {
  expect(told(nextAction(observed))).toBe(expected);
});

test.each<[string, Observed, string]>([
  ['no database', { ...everything, database: 'absent' }, 'act database'],
  ['a database that was begun', { ...everything, database: 'copying' }, 'act database'],
  ['an empty database', { ...everything, database: 'empty', deployment: 'absent' }, 'nothing to do'],
  ['a volume that waits for a pod', { ...everything, database: 'empty', volumeClaim: 'pending' }, 'nothing to do'],
  [
    'a claim that goes away',
    { ...everything, database: 'empty', volumeClaim: 'terminating' },
    'wait VolumeTerminating',
  ],
  ['a database that was filled meanwhile', { ...everything, database: 'filled' }, 'nothing to do'],
  ["somebody else's database", { ...nothing, database: 'foreign' }, 'fail FOREIGN_DATABASE'],
])('to be filled, seeing %s', (_, observed, expected) => {
  expect(told(nextAction(observed, 'empty'))).toBe(expected);
});

function told(action: Action | undefined): string {
  if (!action) return 'nothing to do';
  if (action.kind === 'act') return `act ${action.step}`;
  return action.kind === 'wait' ? `wait ${action.reason}` : `fail ${action.code}`;
}

test('a run of steps needs one look: each is next after the one before it, until others have to do something', () => {
  const taken: string[] = [];
  let known = nothing;
  let action = nextAction(known);
  while (action?.kind === 'act') {
    taken.push(action.step);
    known = afterStep(known, action.step);
    action = nextAction(known);
  }
  expect(taken).toEqual(['secret', 'volume', 'role', 'database', 'tenant']);
  expect(action).toMatchObject({ kind: 'wait', reason: 'VolumePending' });
});

test('a workload that was applied just now is not ready, whatever was there before', () => {
  const known = afterStep({ ...everything, routed: false }, 'workload');
  expect(nextAction(known)).toMatchObject({ kind: 'wait', reason: 'PodNotReady' });
});
