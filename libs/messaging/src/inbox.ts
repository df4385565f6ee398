import type { Contract, Envelope } from '#contracts/index.js';
import type { Transaction } from '#persistence/index.js';

export type Verdict = 'new' | 'duplicate' | 'overtaken';

/**
 * Notes the message in the transaction of its effect, so that a retry is never taken for a duplicate. A second
 * delivery that comes at the same time waits here until the first has committed or rolled back. One statement, because
 * each is a round trip.
 */
export async function admit(
  tx: Transaction,
  contract: Contract,
  envelope: Envelope,
  facts: 'newest' | 'every',
): Promise<Verdict> {
  if (contract.kind === 'request' && contract.repeatable) return 'new';
  if (contract.kind === 'request' || facts === 'every') {
    const noted = await tx.queryPrepared(
      'INSERT INTO inbox (source, message_id) VALUES ($1, $2) ON CONFLICT DO NOTHING RETURNING 1',
      [envelope.source, envelope.id],
    );
    return noted.length > 0 ? 'new' : 'duplicate';
  }
  const [row] = await tx.queryPrepared<{ noted: boolean; newer: boolean }>(
    `WITH noted AS (
       INSERT INTO inbox (source, message_id) VALUES ($1, $2) ON CONFLICT DO NOTHING RETURNING source),
     newer AS (
       INSERT INTO heard AS h (source, subject, type, sequence) SELECT source, $3::text, $4::text, $5::bigint FROM noted
       ON CONFLICT (source, subject, type) DO UPDATE SET sequence = excluded.sequence
         WHERE h.sequence < excluded.sequence
       RETURNING 1)
     SELECT EXISTS (SELECT FROM noted) AS noted, EXISTS (SELECT FROM newer) AS newer`,
    [envelope.source, envelope.id, envelope.subject, envelope.type, envelope.sequence],
  );
  if (!row!.noted) return 'duplicate';
  return row!.newer ? 'new' : 'overtaken';
}

export interface Came {
  readonly envelope: Envelope;
  readonly facts: 'newest' | 'every';
}

/**
 * Notes facts that have come together, in one statement, and judges each as if they had been admitted one after the
 * other, in this order.
 *
 * Rows are written in the order of their keys: so two batches wait for one another, and never both for each other.
 */
export async function admitTogether(tx: Transaction, messages: readonly Came[]): Promise<Verdict[]> {
  const firsts = new Map(messages.toReversed().map((one) => [keyOf(one.envelope), one]));
  const distinct = [...firsts.values()];
  const column = <T>(of: (envelope: Envelope, facts: Came['facts']) => T) =>
    distinct.map(({ envelope, facts }) => of(envelope, facts));
  // An upsert touches each row once, so the newest of a kind goes in for all of them. What stood there before, the row
  // itself remembers: RETURNING does not know, and who looks beforehand may see what is out of date.
  const rows = await tx.queryPrepared<{ source: string; id: string; previous: string | null }>(
    `WITH came AS (
       SELECT * FROM unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::bigint[])
         AS came (source, message_id, subject, type, sequence)),
     noted AS (
       INSERT INTO inbox (source, message_id) SELECT source, message_id FROM came ORDER BY source, message_id
       ON CONFLICT DO NOTHING RETURNING source, message_id),
     newest AS (
       INSERT INTO heard AS h (source, subject, type, sequence)
       SELECT source, subject, type, max(sequence) FROM came JOIN noted USING (source, message_id)
       WHERE subject IS NOT NULL GROUP BY source, subject, type ORDER BY source, subject, type
       ON CONFLICT (source, subject, type) DO UPDATE
         SET sequence = greatest(h.sequence, excluded.sequence), previous = h.sequence
       RETURNING source, subject, type, previous)
     SELECT source, message_id AS id, previous FROM noted JOIN came USING (source, message_id)
       LEFT JOIN newest USING (source, subject, type)`,
    [
      column(({ source }) => source),
      column(({ id }) => id),
      column(({ subject }, facts) => (facts === 'newest' ? subject : null)),
      column(({ type }) => type),
      column(({ sequence }) => sequence),
    ],
  );
  const previous = new Map(rows.map((row) => [keyOf(row), Number(row.previous ?? Number.NEGATIVE_INFINITY)]));
  const newest = new Map<string, number>();
  return messages.map((message) => {
    const { envelope, facts } = message;
    const key = keyOf(envelope);
    if (!previous.has(key) || firsts.get(key) !== message) return 'duplicate';
    if (facts === 'every') return 'new';
    const kind = JSON.stringify([envelope.source, envelope.subject, envelope.type]);
    const before = newest.get(kind) ?? previous.get(key)!;
    const sequence = envelope.sequence!;
    newest.set(kind, Math.max(before, sequence));
    return sequence > before ? 'new' : 'overtaken';
  });
}

const keyOf = ({ source, id }: Pick<Envelope, 'source' | 'id'>) => JSON.stringify([source, id]);
