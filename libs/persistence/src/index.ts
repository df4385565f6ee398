export * from './database.js';
export * from './job-queue.js';
export * from './job-worker.js';
export * from './jobs.migration.js';
export * from './persistence.module.js';
