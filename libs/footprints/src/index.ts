export * from './deadline.js';
export * from './observed.js';
export * from './obstacle.js';
export * from './routed-site.js';
export * from './settings.js';
export * from './shards.js';
export * from './watch.js';
