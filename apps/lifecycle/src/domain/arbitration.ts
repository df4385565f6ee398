import type { Input, Operation, OperationKind } from './operation.js';

/**
 * What becomes of a request that comes while another operation is under way:
 * - `waits` until that one has ended, and is judged anew then;
 * - `overtakes`: that one is ended where it is, and this one begins;
 * - `refused`, with a code.
 * One that wants the very same as the last before it merges: it is answered with that one.
 */
export type Verdict = 'waits' | 'overtakes' | 'refused';

/** `held`: quiesced, and somebody works on it. A release that switches is under way as a switch back is. */
export type UnderWay = OperationKind | 'held';

/** Where nothing stands a request waits. */
export const verdicts: Readonly<Record<OperationKind, Readonly<Partial<Record<UnderWay, Verdict>>>>> = {
  start: {},
  // A start that hangs must not keep anybody from stopping it.
  stop: { start: 'overtakes', restart: 'overtakes' },
  restart: {},
  suspend: { start: 'overtakes', restart: 'overtakes', resume: 'overtakes' },
  resume: {},
  resize: {},
  upgrade: {},
  rename: {},
  quiesce: { held: 'refused' },
  release: { held: 'overtakes' },
  'switch-back': {},
  terminate: {
    start: 'overtakes',
    stop: 'overtakes',
    restart: 'overtakes',
    suspend: 'overtakes',
    resume: 'overtakes',
    resize: 'overtakes',
    quiesce: 'overtakes',
    release: 'overtakes',
    held: 'overtakes',
    'cancel-termination': 'overtakes',
  },
  'cancel-termination': { terminate: 'overtakes' },
};

/** So many may wait for one instance. */
export const mostWaiting = 20;

export function verdictOf(incoming: OperationKind, underWay: UnderWay): Verdict {
  return verdicts[incoming][underWay] ?? 'waits';
}

/** Of those that wait, the first that would overtake this one if it were under way: then it need not begin. */
export function overtakerOf<Waiting extends Pick<Operation, 'kind'>>(
  kind: OperationKind,
  waiting: readonly Waiting[],
): Waiting | undefined {
  return waiting.find((one) => verdictOf(one.kind, kind) === 'overtakes');
}

/** Nobody goes between two footprints: who stopped there would leave two that the same host leads to. */
function underWayOf({ kind, input }: Pick<Operation, 'kind' | 'input'>): OperationKind {
  return kind === 'release' && input.footprintId ? 'switch-back' : kind;
}

/** Two of these are never the same, whatever they say. */
function isOneOfAKind(kind: OperationKind): boolean {
  return kind === 'quiesce' || kind === 'release';
}

/** Whether they want the very same. */
export function isSame(one: Pick<Operation, 'kind' | 'input'>, other: { kind: OperationKind; input: Input }): boolean {
  if (one.kind !== other.kind || isOneOfAKind(one.kind)) return false;
  const [a, b] = [one.input, other.input];
  return (
    a.why === b.why &&
    a.plan === b.plan &&
    a.at === b.at &&
    a.to === b.to &&
    (a.rehearse ?? false) === (b.rehearse ?? false) &&
    a.slug === b.slug &&
    a.footprintId === b.footprintId &&
    String(a.customDomains) === String(b.customDomains) &&
    String(a.modules) === String(b.modules)
  );
}

export type Decision =
  | { readonly verdict: 'begins' | 'waits' }
  | { readonly verdict: 'overtakes'; readonly ends: readonly string[] }
  | { readonly verdict: 'merges'; readonly into: string }
  | { readonly verdict: 'refused'; readonly code: string; readonly message: string };

/**
 * @param active the operation under way, or the word that somebody holds the instance.
 * @param waiting in the order in which they came.
 */
export function decide(
  incoming: { readonly kind: OperationKind; readonly input: Input },
  active: Pick<Operation, 'operationId' | 'kind' | 'input'> | 'held' | undefined,
  waiting: readonly Pick<Operation, 'operationId' | 'kind' | 'input'>[],
): Decision {
  // Between the two something else may wait that would undo the first.
  const last = waiting.at(-1) ?? active;
  if (last && last !== 'held' && isSame(last, incoming)) return { verdict: 'merges', into: last.operationId };
  if (active === undefined) return { verdict: waiting.length > 0 ? 'waits' : 'begins' };
  const verdict = verdictOf(incoming.kind, active === 'held' ? 'held' : underWayOf(active));
  if (verdict === 'overtakes') return { verdict, ends: active === 'held' ? [] : [active.operationId] };
  if (verdict === 'refused')
    return { verdict, code: 'ALREADY_QUIESCED', message: 'somebody else works on it until it is released' };
  if (waiting.length >= mostWaiting)
    return { verdict: 'refused', code: 'TOO_MANY_WAIT', message: `${mostWaiting} operations wait for it already` };
  return { verdict: 'waits' };
}
