import { z } from 'zod';
import { parseDuration } from './duration.js';

/** A time in an environment variable, `500ms`, `30s`, `2m` or `1h`; read as milliseconds. */
export const duration = z.string().transform((text, ctx) => {
  const ms = parseDuration(text);
  if (ms === undefined) ctx.addIssue(`a time is like 500ms, 30s, 2m or 1h; this is not one: ${text}`);
  return ms ?? 0;
});

/** What a service with a database reads from its environment, for its `config.ts`. */
export const databaseSettings = {
  /** `postgres://<mesh>_<service>:password@host:port/<mesh>_mesh` */
  MESH_DATABASE_URL: z.url(),
};

/** The same of a service with reconcilers. */
export const jobSettings = {
  /** How long a job stays with a worker that is not heard of any more. Renewed three times as often while it runs. */
  MESH_JOB_LEASE: duration.default(30_000),
};
