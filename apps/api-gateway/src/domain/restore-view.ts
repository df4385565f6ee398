import type { PayloadOf, RestoreRequested } from '#contracts/index.js';

/** Each says more than those before it; what has ended has ended. */
const ranks = { requested: 0, refused: 1, running: 2, completed: 3, failed: 3 } as const;
export type RestoreState = keyof typeof ranks;
export const restoreStates = Object.keys(ranks) as readonly RestoreState[];

/** A fact of a lower rank comes too late to say anything about the state. */
export function rankOf(state: RestoreState): number {
  return ranks[state];
}

type Requested = PayloadOf<typeof RestoreRequested>;

/** What the gateway knows of a restore, put together from facts in any order. */
export interface RestoreView {
  readonly restoreId: string;
  /** Of a clone: the instance that the backup is of. */
  readonly instanceId: string;
  readonly backupId: string;
  readonly mode: Requested['mode'];
  /** Of a clone: the new instance. */
  readonly to: NonNullable<Requested['to']> | null;
  readonly state: RestoreState;
  /** The one that was told of last; null: none was. */
  readonly step: string | null;
  /** All there are, in their order. */
  readonly steps: readonly string[] | null;
  readonly stepSince: Date | null;
  readonly message: string | null;
  readonly code: string | null;
  readonly footprintId: string | null;
  /** The instance as it was just before. */
  readonly safetyBackupId: string | null;
  readonly durationMs: number | null;
  readonly rows: number | null;
  readonly files: number | null;
  /** Where it was asked for here. */
  readonly operationId: string | null;
  readonly requestedBy: string | null;
  readonly reason: string | null;
  readonly notedAt: Date;
  readonly endedAt: Date | null;
}

/** Step n of m; null: no step was told of. */
export interface Progress {
  readonly step: string;
  readonly number: number;
  readonly of: number;
  readonly steps: readonly string[];
  readonly since: Date;
}

export function progressOf({
  step,
  steps,
  stepSince,
}: Pick<RestoreView, 'step' | 'steps' | 'stepSince'>): Progress | null {
  if (step === null || steps === null || stepSince === null) return null;
  return { step, number: steps.indexOf(step) + 1, of: steps.length, steps, since: stepSince };
}
