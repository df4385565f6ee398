import type { LocalConfig } from './config.js';
import type { StackEnv } from './env-file.js';
import type { InstalledMesh } from './mesh-install.js';
import type { MeshServices } from './mesh-services.js';
import type { Prepared } from './stack.js';
import type { State } from './state.js';

/** What the phases of `npm run up` hand on to each other. */
export interface UpContext {
  readonly config: LocalConfig;
  readonly state: State;
  readonly prepared: Prepared;
  readonly sure: boolean;
  /** The addresses, from the phase `Stack` on. */
  env: StackEnv | undefined;
  /** From the phase `Mesh` on. */
  mesh: { readonly installed: InstalledMesh; readonly services: MeshServices } | undefined;
  /** From the phase `First instance` on. */
  made: { readonly traceId: string | undefined } | undefined;
  /** Lines for the end of the start: what there is and what to try next. */
  readonly summary: string[];
  /** What undoes a phase; done in reverse order when `up` ends, however it ends. */
  readonly atEnd: { readonly name: string; readonly undo: () => Promise<void> }[];
}

/** One part of the start, shown under its title. */
export interface Phase {
  readonly title: string;
  run(context: UpContext): Promise<void>;
}
