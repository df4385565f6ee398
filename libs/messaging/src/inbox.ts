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
    const noted = await tx.query(
      'INSERT INTO inbox (source, message_id) VALUES ($1, $2) ON CONFLICT DO NOTHING RETURNING 1',
      [envelope.source, envelope.id],
    );
    return noted.length > 0 ? 'new' : 'duplicate';
  }
  const [row] = await tx.query<{ noted: boolean; newer: boolean }>(
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
