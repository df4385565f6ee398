export * from './bucket.js';
export * from './settings.js';
