/** What became of a request; its id is the operation's. */
export const operationStates = ['pending', 'succeeded', 'failed', 'refused'] as const;
export type OperationState = (typeof operationStates)[number];

/** One fact of an operation, as far as it says what became of it. */
export interface OperationFact {
  readonly fact: string;
  /** The operation that it ends, when it names one: an operation may ask for others on its way. */
  readonly ends: string | null;
}

type Ends = Readonly<Record<string, OperationState>>;

/** What the making of an instance ends with. That the instance ends one day says nothing about its making. */
const ofMaking: Ends = {
  'instance.ready': 'succeeded',
  'instance.refused': 'refused',
  'instance.provisioning-failed': 'failed',
  'instance.provisioning-cancelled': 'failed',
  // Taken up again by somebody.
  'instance.provisioning-started': 'pending',
};

/** What else ends without naming the request: to take a making up again, and to destroy. */
const ofOthers: Ends = {
  'instance.provisioning-started': 'succeeded',
  'instance.terminated': 'succeeded',
};

/** All others that name an operation are what it was to lead to. */
const badEnds: Ends = {
  'instance.operation-refused': 'refused',
  'instance.operation-failed': 'failed',
  'instance.upgrade-failed': 'failed',
  'backup.refused': 'refused',
  'backup.hold-refused': 'refused',
  'backup.failed': 'failed',
  'restore.refused': 'refused',
  'restore.failed': 'failed',
};

/** The backup service's answers name no operation: each ends the one whose request caused it. */
const answers = new Set([
  ...['backup.completed', 'backup.failed', 'backup.refused', 'backup.hold-changed', 'backup.hold-refused'],
  ...['restore.completed', 'restore.failed', 'restore.refused'],
]);

export function answersItsRequest(fact: string): boolean {
  return answers.has(fact);
}

const onlyOfMaking = new Set(['instance.placed', 'instance.placement-deferred', 'instance.refused']);

export interface OperationSoFar {
  readonly operationId: string;
  /** Oldest first. */
  readonly facts: readonly OperationFact[];
  /** It is the request that made its instance. */
  readonly making: boolean;
  /** Its instance has ended. */
  readonly ended: boolean;
}

export function stateOfOperation({ operationId, facts, making, ended }: OperationSoFar): OperationState {
  const ofIt = making || facts.some(({ fact }) => onlyOfMaking.has(fact)) ? ofMaking : ofOthers;
  // What became of it by name says all: a clone that was made goes on to be placed and provisioned because of it.
  const named = facts.findLast(({ ends }) => ends === operationId);
  if (named) return badEnds[named.fact] ?? 'succeeded';
  const state = facts.map(({ fact }) => ofIt[fact]).findLast((end) => end !== undefined);
  // It was ended by somebody before it was Ready, in an operation of theirs.
  if (making && ended && (state ?? 'pending') === 'pending') return 'failed';
  return state ?? 'pending';
}
