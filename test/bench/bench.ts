import type { StackEnv } from '#local/env-file.js';

/** What one round of a contender came to: a number for each quantity, `perSecond` for instance. */
export type Measured = Readonly<Record<string, number>>;

/** One side of a comparison, at work in a process of its own. */
export interface Running {
  /** `n` messages, calls or instances, from the first to the last. What has to be laid out before is not measured. */
  round(n: number): Promise<Measured>;
  stop(): Promise<void>;
}

export interface Goal {
  /** Of what: the ratio of ours to the reference, or the figure of ours alone. */
  readonly of: 'ratio' | 'ours';
  readonly is: 'at least' | 'at most';
  readonly value: number;
}

/** Two contenders and the quantity in which they are compared. */
export interface Comparison {
  readonly says: string;
  readonly quantity: string;
  readonly ours: string;
  readonly reference: string;
  /** Absent: the figure explains another one. */
  readonly goal?: Goal;
}

export interface Size {
  readonly n: number;
  readonly rounds: number;
  /** How many of `n` each contender does once before it is measured. */
  readonly warmUp: number;
  readonly minutes: number;
}

/**
 * One bench. The contenders run one after the other, in turn, as often as there are rounds, so that whatever else the
 * machine does meets all of them.
 */
export interface Bench<Setting = unknown> {
  readonly name: string;
  readonly says: string;
  /** It needs pods that run: only with `--real-node`. */
  readonly realNode?: true;
  readonly size: { readonly full: Size; readonly quick: Size };
  /**
   * What the contenders share, as JSON; their processes are given it.
   * @param n of the round, for what has to be there for each of them.
   * @param profiles as of a contender.
   */
  setUp(
    stack: StackEnv,
    n: number,
    profiles: string | undefined,
  ): Promise<{ readonly setting: Setting; tearDown(): Promise<void> }>;
  readonly contenders: Readonly<Record<string, Contender<Setting>>>;
  readonly comparisons: readonly Comparison[];
  /** What has to be known to read the figures. */
  readonly notes: readonly string[];
}

export interface Contender<Setting> {
  /** Of the bench's `n`, for one that is much slower than the others. Default 1. */
  readonly share?: number;
  /** Where a round takes so long that fewer have to do. Those that are compared have the same number. */
  readonly rounds?: number;
  /** @param profiles where other processes that it starts leave their CPU profiles, if anybody wants them. */
  start(setting: Setting, profiles: string | undefined): Promise<Running>;
}

/** So that benches with different settings stand in one list. */
export function bench<Setting>(one: Bench<Setting>): Bench {
  return one as Bench;
}
