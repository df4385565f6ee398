export * from './contract.js';
export * from './envelope.js';
export * from './instance-requests.js';
export * from './lifecycle-facts.js';
export * from './new-id.js';
export * from './placement-facts.js';
export * from './provisioning-facts.js';
export * from './registry.js';
