export type { CallOptions } from './api-server.js';
export * from './client.js';
export * from './errors.js';
export * from './reflector.js';
export * from './resources.js';
export * from './token-bucket.js';
export * from './typed-apis.js';
