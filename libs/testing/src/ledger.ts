/** One message as its publisher saved it, or as a hearer's effect shows it. */
export interface Entry {
  readonly id: string;
  /** What it is about; versions are compared within one subject. */
  readonly subject: string;
  /** Counts up within the subject. */
  readonly version: number;
}

/** What became of everything that was to be said, read from the databases of both sides when all is quiet. */
export interface Ledger {
  /** Ids whose COMMIT was answered with success, as the publisher remembers it. */
  readonly attempted: readonly { readonly id: string; readonly succeeded: boolean }[];
  /** What stands in the publisher's database. */
  readonly committed: readonly Entry[];
  /** Ids that left the outbox, because the broker confirmed them. */
  readonly confirmed: readonly string[];
  /** Ids the hearer has noted as done. */
  readonly handled: readonly string[];
  /** What the hearer has done, in the order of its commits. */
  readonly effects: readonly Entry[];
  /** Whether the hearer may pass over what was overtaken by a later version of its subject. */
  readonly overtaking: boolean;
}

/** Ids that came to a wrong end; all empty: nothing is amiss. */
export interface Amiss {
  /** Said for certain, and never done: not committed after all, or confirmed and not handled, or handled without effect. */
  readonly lost: readonly string[];
  /** Still waits in the outbox. */
  readonly stuck: readonly string[];
  /** Done more than once. */
  readonly doubled: readonly string[];
  /** Done after a later version of its subject. Only where overtaking is known: elsewhere no order is promised. */
  readonly outOfOrder: readonly string[];
  /** Done, and never said: its transaction was rolled back. */
  readonly ghosts: readonly string[];
}

export const nothingAmiss: Amiss = { lost: [], stuck: [], doubled: [], outOfOrder: [], ghosts: [] };

export function audit(ledger: Ledger): Amiss {
  const committed = new Set(ledger.committed.map(({ id }) => id));
  const confirmed = new Set(ledger.confirmed);
  const handled = new Set(ledger.handled);
  const effects = new Set<string>();
  const newest = new Map<string, number>();
  const doubled = new Set<string>();
  const outOfOrder: string[] = [];
  for (const { id, subject, version } of ledger.effects) {
    if (effects.has(id)) doubled.add(id);
    effects.add(id);
    const before = newest.get(subject) ?? Number.NEGATIVE_INFINITY;
    if (ledger.overtaking && version < before) outOfOrder.push(id);
    newest.set(subject, Math.max(before, version));
  }

  const overtaken = ({ subject, version }: Entry) => ledger.overtaking && version < (newest.get(subject) ?? version);
  const done = (entry: Entry) => handled.has(entry.id) && (effects.has(entry.id) || overtaken(entry));
  const vanished = ledger.attempted.filter(({ id, succeeded }) => succeeded && !committed.has(id));
  return {
    lost: [
      ...vanished.map(({ id }) => id),
      ...ledger.committed.filter((entry) => confirmed.has(entry.id) && !done(entry)).map(({ id }) => id),
    ],
    stuck: ledger.committed.filter(({ id }) => !confirmed.has(id)).map(({ id }) => id),
    doubled: [...doubled],
    outOfOrder,
    ghosts: [...effects].filter((id) => !committed.has(id)),
  };
}
