/** What became of a request; its id is the operation's. */
export const operationStates = ['pending', 'succeeded', 'failed', 'refused'] as const;
export type OperationState = (typeof operationStates)[number];

const ends: Readonly<Record<string, OperationState>> = {
  'instance.ready': 'succeeded',
  'instance.refused': 'refused',
  'instance.terminated': 'succeeded',
  'instance.provisioning-failed': 'failed',
  // Taken up again by somebody.
  'instance.provisioning-started': 'pending',
};

/** By its facts, oldest first. */
export function stateOfOperation(facts: readonly string[]): OperationState {
  const last = facts.findLast((fact) => ends[fact] !== undefined);
  return last ? ends[last]! : 'pending';
}
