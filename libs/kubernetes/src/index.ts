export * from './client.js';
export * from './errors.js';
export * from './reflector.js';
export * from './resources.js';
