export * from './errors.js';
export * from './personalise.js';
export * from './preparation.js';
export * from './prepare-shard.js';
export * from './scram.js';
export * from './shard.js';
export * from './templates.js';
export * from './tenant.js';
