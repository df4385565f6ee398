import { type InstanceState, instanceStates } from '#contracts/index.js';
import type { Instance } from './instance.js';

/**
 * What moves an instance from one state to another: the end of an operation, by the operation's name (those of
 * `atOnce` by its beginning); `… failed`: it could not be brought to its end and is taken back; or a fact of another service.
 */
export type Trigger =
  | 'start'
  | 'stop'
  | 'restart'
  | 'suspend'
  | 'resume'
  | 'resize'
  | 'rename'
  | 'hibernate'
  | 'wake'
  | 'quiesce'
  | 'upgrade'
  | 'release'
  | 'switch-back'
  | 'terminate'
  | 'cancel-termination'
  | 'not running'
  | 'ready'
  | 'given up'
  | 'taken up again'
  | 'cancelled'
  | 'purge approved'
  | 'removed';

const guards = {
  'its owner wants it to run': ({ ownerWants }) => ownerWants === 'running',
  'its owner wants it stopped': ({ ownerWants }) => ownerWants === 'stopped',
  'it is suspended': ({ suspension }) => suspension !== null,
  'not suspended, its owner wants it to run': ({ suspension, ownerWants }) => !suspension && ownerWants === 'running',
  'not suspended, its owner wants it stopped': ({ suspension, ownerWants }) => !suspension && ownerWants === 'stopped',
} as const satisfies Readonly<Record<string, (one: Pick<Instance, 'ownerWants' | 'suspension'>) => boolean>>;
type Guard = keyof typeof guards;

export interface Transition {
  readonly from: InstanceState;
  readonly on: Trigger;
  readonly to: InstanceState;
  readonly when?: Guard;
}

function row(
  from: InstanceState | readonly InstanceState[],
  on: Trigger,
  to: InstanceState,
  when?: Guard,
): Transition[] {
  return [from].flat().map((one) => ({ from: one as InstanceState, on, to, ...(when && { when }) }));
}

const whatIsUp = ['running', 'stopped', 'hibernated', 'suspended'] as const;

function back(from: InstanceState, on: Trigger): Transition[] {
  return [
    ...row(from, on, 'suspended', 'it is suspended'),
    ...row(from, on, 'running', 'not suspended, its owner wants it to run'),
    ...row(from, on, 'stopped', 'not suspended, its owner wants it stopped'),
  ];
}

/** All that can become of an instance. What does not stand here does not happen. */
export const transitions: readonly Transition[] = [
  ...row('provisioning', 'ready', 'running'),
  ...row('provisioning', 'given up', 'failed'),
  ...row('failed', 'taken up again', 'provisioning'),
  ...row('failed', 'ready', 'running'),
  ...row('running', 'stop', 'stopped'),
  ...row('stopped', 'start', 'running'),
  ...row('running', 'restart', 'running'),
  ...row('running', 'hibernate', 'hibernated'),
  ...row('hibernated', 'wake', 'running'),
  ...row('hibernated', 'start', 'running'),
  ...row('hibernated', 'stop', 'stopped'),
  ...row(['running', 'stopped', 'hibernated'], 'suspend', 'suspended'),
  ...row('suspended', 'resume', 'running', 'its owner wants it to run'),
  ...row('suspended', 'resume', 'stopped', 'its owner wants it stopped'),
  ...row('running', 'resize', 'running'),
  ...row('stopped', 'resize', 'stopped'),
  ...row('hibernated', 'resize', 'hibernated'),
  ...row('suspended', 'resize', 'suspended'),
  ...whatIsUp.flatMap((state) => row(state, 'rename', state)),
  ...row(whatIsUp, 'quiesce', 'maintenance'),
  ...row(whatIsUp, 'switch-back', 'maintenance'),
  // When its backup is there; until then it runs. It comes back by `release`, upgraded or not.
  ...row(['running', 'stopped'], 'upgrade', 'maintenance'),
  ...back('maintenance', 'release'),
  ...row([...whatIsUp, 'maintenance', 'terminating'], 'not running', 'stopped'),
  ...row(['provisioning', 'failed', ...whatIsUp, 'maintenance'], 'terminate', 'terminating'),
  ...back('terminating', 'cancel-termination'),
  ...row('terminating', 'purge approved', 'purging'),
  ...row('terminating', 'cancelled', 'purging'),
  // Whoever removed it: nothing is left.
  ...row(
    instanceStates.filter((state) => state !== 'terminated'),
    'removed',
    'terminated',
  ),
];

/** These change the state when they begin, because from then on it is so for everybody who looks. */
export const atOnce: ReadonlySet<Trigger> = new Set(['terminate', 'quiesce', 'switch-back']);

/** Where it goes; undefined: that does not happen to an instance that is so. */
export function nextState(
  instance: Pick<Instance, 'state' | 'ownerWants' | 'suspension'>,
  on: Trigger,
): InstanceState | undefined {
  return transitions.find(
    (one) => one.from === instance.state && one.on === on && (one.when === undefined || guards[one.when](instance)),
  )?.to;
}

const first: InstanceState = 'provisioning';
const last: InstanceState = 'terminated';

/**
 * What is wrong with a table: a state that is never reached, one from which the end is not reached, two rows between
 * which nobody could decide. Looked at when the service starts.
 */
export function faultsOf(table: readonly Transition[], states: readonly InstanceState[] = instanceStates): string[] {
  const follow = (from: InstanceState, forwards: boolean) => {
    const seen = new Set([from]);
    for (const state of seen)
      for (const one of table) {
        if (forwards && one.from === state) seen.add(one.to);
        if (!forwards && one.to === state) seen.add(one.from);
      }
    return seen;
  };
  const reached = follow(first, true);
  const ends = follow(last, false);
  const unclear = table.filter((one, at) =>
    table.some((other, otherAt) => {
      if (otherAt <= at || other.from !== one.from || other.on !== one.on) return false;
      return one.when === undefined || other.when === undefined || one.when === other.when;
    }),
  );
  return [
    ...states.filter((state) => !reached.has(state)).map((state) => `${state} is never reached`),
    ...states.filter((state) => !ends.has(state)).map((state) => `from ${state} there is no way to the end`),
    ...unclear.map(({ from, on }) => `${from} has two rows for "${on}" that may both hold`),
  ];
}

/** The table as a picture, in Mermaid's words. */
export function diagram(table: readonly Transition[] = transitions): string {
  const arrows = new Map<string, string[]>();
  for (const { from, to, on, when } of table) {
    const arrow = `${from} --> ${to}`;
    arrows.set(arrow, [...(arrows.get(arrow) ?? []), when ? `${on} [${when}]` : on]);
  }
  const lines = [...arrows].map(([arrow, labels]) => `  ${arrow}: ${labels.join(' / ')}`);
  return ['stateDiagram-v2', `  [*] --> ${first}`, ...lines, `  ${last} --> [*]`].join('\n');
}
