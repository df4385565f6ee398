export * from './health.js';
export * from './log.js';
export * from './metrics.js';
export * from './nest-log.js';
export * from './run-service.js';
export * from './settings.js';
export * from './tracing.js';
export * from './without-secrets.js';
