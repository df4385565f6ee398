export * from './database.js';
export * from './duration.js';
export * from './job-queue.js';
export * from './job-worker.js';
export * from './jobs.migration.js';
export * from './periodic.js';
export * from './persistence.module.js';
export * from './settings.js';
