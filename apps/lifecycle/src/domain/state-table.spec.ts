import { readFileSync } from 'node:fs';
import { expect, test } from '@jest/globals';
import { instanceStates } from '#contracts/index.js';
import { diagram, faultsOf, nextState, type Transition, transitions } from './state-table.js';

test('the table is without fault', () => expect(faultsOf(transitions)).toEqual([]));

const row = (from: string, on: string, to: string, when?: string) => ({ from, on, to, when }) as unknown as Transition;
const whole = [row('provisioning', 'ready', 'running'), row('running', 'removed', 'terminated')];

test.each([
  [
    'a state that is never reached',
    [...whole, row('hibernated', 'removed', 'terminated')],
    'hibernated is never reached',
  ],
  [
    'a state without a way to the end',
    [...whole, row('running', 'stop', 'stopped')],
    'from stopped there is no way to the end',
  ],
  [
    'two rows that may both hold',
    [...whole, row('running', 'removed', 'purging')],
    'running has two rows for "removed"',
  ],
])('%s is found', (_, table, fault) => {
  expect(faultsOf(table).join('\n')).toContain(fault);
});

const instance = { ownerWants: 'running', suspension: null } as const;

test('guards decide where it goes back to', () => {
  const back = (change: object) => nextState({ ...instance, state: 'maintenance', ...change }, 'release');
  expect(back({})).toBe('running');
  expect(back({ ownerWants: 'stopped' })).toBe('stopped');
  expect(back({ suspension: { why: 'unpaid' }, ownerWants: 'stopped' })).toBe('suspended');
});

test('from purging nothing leads back', () => {
  expect(transitions.filter(({ from }) => from === 'purging').map(({ to }) => to)).toEqual(['terminated']);
});

test.each(instanceStates.filter((state) => !['purging', 'terminating', 'terminated'].includes(state)))(
  'what is %s can be terminated',
  (state) => expect(nextState({ ...instance, state }, 'terminate')).toBe('terminating'),
);

test('the picture in the README is that of the table', () => {
  const readme = readFileSync('apps/lifecycle/README.md', 'utf8');
  const shown = /```mermaid\n([\s\S]*?)\n```/.exec(readme)?.[1];
  // Stale: npm run state-diagram
  expect(shown).toBe(diagram());
});
