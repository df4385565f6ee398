/** All states of an instance. Only lifecycle changes them. */
export const instanceStates = [
  'provisioning',
  'running',
  'stopped',
  'hibernated',
  'suspended',
  'maintenance',
  'failed',
  'terminating',
  'purging',
  'terminated',
] as const;
export type InstanceState = (typeof instanceStates)[number];
