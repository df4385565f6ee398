import { z } from 'zod';
import { objectStorageSettings, storageOf } from '#object-storage/settings.js';
import { filesTaskVariable, filestoreDir } from '#odoo/index.js';

const folder = z.string().regex(/^[A-Za-z0-9_][A-Za-z0-9._-]{0,62}$/, 'not the name of a database');
const prefix = z.string().regex(/[^/]\/$/, 'not a prefix with a slash at its end');
const key = z.string().min(1).max(1_024);

const Task = z.discriminatedUnion('kind', [
  z.object({ kind: z.literal('save'), folder, files: prefix, index: key }),
  z.object({ kind: z.literal('fill'), folder, files: prefix, indexes: z.array(key) }),
]);

const Environment = z.object({
  ...objectStorageSettings,
  [filesTaskVariable]: z
    .string()
    .transform((text, ctx) => {
      try {
        return JSON.parse(text);
      } catch {
        ctx.addIssue('not JSON');
        return z.NEVER;
      }
    })
    .pipe(Task),
  /** Where the volume's filestore is mounted. */
  MESH_FILESTORE: z.string().default(filestoreDir),
  /** Kubernetes makes a message of what is in there at the end. */
  MESH_RESULT_FILE: z.string().default('/dev/termination-log'),
});

/** What files-worker.ts reads of its environment. Throws one error that names every fault. */
export function readWorkerConfig(environment: NodeJS.ProcessEnv = process.env) {
  const parsed = Environment.safeParse(environment);
  if (!parsed.success) throw new Error(`the worker's environment cannot be used:\n${z.prettifyError(parsed.error)}`);
  const { [filesTaskVariable]: task, ...rest } = parsed.data;
  const { MESH_FILESTORE, MESH_RESULT_FILE } = rest;
  return Object.freeze({ task, MESH_FILESTORE, MESH_RESULT_FILE, storage: storageOf(rest) });
}
