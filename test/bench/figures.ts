import type { Comparison, Goal, Measured } from './bench.js';

/** What was measured of one contender, round by round. */
export type Rounds = Readonly<Record<string, readonly Measured[]>>;

export interface Figure {
  readonly says: string;
  readonly quantity: string;
  readonly ours: number;
  readonly reference: number;
  readonly ratio: number;
  readonly goal: string | null;
  readonly met: boolean | null;
  /** Ours and the reference's, in the order they were measured. */
  readonly rounds: readonly (readonly [ours: number, reference: number])[];
}

/** The middle one; of an even number the mean of the two in the middle. Throws when there is none. */
export function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = sorted.length / 2;
  const [low, high] = [sorted[Math.ceil(middle) - 1], sorted[Math.floor(middle)]];
  if (low === undefined || high === undefined) throw new Error('there is no median of nothing');
  return (low + high) / 2;
}

/** The smallest value that `share` of all are not above. Throws when there is none. */
export function quantile(values: readonly number[], share: number): number {
  const sorted = [...values].sort((a, b) => a - b);
  const found = sorted[Math.max(0, Math.ceil(sorted.length * share) - 1)];
  if (found === undefined) throw new Error('there is no quantile of nothing');
  return found;
}

/** Enough digits to tell two figures apart, and no more than the machine's noise is worth. */
export function rounded(value: number): number {
  return value === 0 ? 0 : Number(value.toPrecision(4));
}

/**
 * The ratio is the median of the rounds' own ratios and not the ratio of the medians: what slowed the machine in one
 * round slowed both sides of it.
 */
export function figureOf({ says, quantity, ours, reference, goal }: Comparison, rounds: Rounds): Figure {
  const of = (contender: string) =>
    (rounds[contender] ?? []).map((one) => {
      const value = one[quantity];
      if (value === undefined) throw new Error(`${contender} did not measure ${quantity}`);
      return value;
    });
  const [a, b] = [of(ours), of(reference)];
  if (a.length !== b.length) throw new Error(`${ours} and ${reference} did not run the same number of rounds`);
  const pairs = a.map((value, index): [number, number] => [value, b[index]!]);
  const ratio = median(pairs.map(([one, other]) => one / other));
  const mine = median(a);
  return {
    says,
    quantity,
    ours: rounded(mine),
    reference: rounded(median(b)),
    ratio: rounded(ratio),
    goal: goal ? wordsOf(goal) : null,
    met: goal ? isMet(goal, goal.of === 'ratio' ? ratio : mine) : null,
    rounds: pairs.map(([one, other]) => [rounded(one), rounded(other)]),
  };
}

export function isMet({ is, value }: Goal, measured: number): boolean {
  return is === 'at least' ? measured >= value : measured <= value;
}

function wordsOf({ of, is, value }: Goal): string {
  return `${of === 'ours' ? 'ours ' : ''}${is === 'at least' ? '≥' : '≤'} ${value}`;
}

/** One line a figure, for a person. */
export function tableOf(rows: readonly { readonly bench: string; readonly figure: Figure }[]): string[] {
  const head = ['bench', 'figure', 'ours', 'reference', 'ratio', 'goal', ''];
  const lines = rows.map(({ bench, figure }) => [
    bench,
    `${figure.says}, ${figure.quantity}`,
    plain(figure.ours),
    plain(figure.reference),
    figure.ratio.toFixed(2),
    figure.goal ?? '',
    figure.met === null ? '' : figure.met ? 'met' : 'NOT MET',
  ]);
  const widths = head.map((title, column) => Math.max(title.length, ...lines.map((line) => line[column]!.length)));
  const isNumber = (column: number) => column >= 2 && column <= 4;
  return [head, ...lines].map((line) =>
    line
      .map((cell, column) => (isNumber(column) ? cell.padStart(widths[column]!) : cell.padEnd(widths[column]!)))
      .join('  ')
      .trimEnd(),
  );
}

function plain(value: number): string {
  return value >= 100 ? String(Math.round(value)) : String(rounded(value));
}
