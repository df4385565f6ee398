import type { Contract, Envelope } from '#contracts/index.js';
import type { Transaction } from '#persistence/index.js';

export type Verdict = 'new' | 'duplicate' | 'overtaken';

/**
 * Notes the message in the transaction of its effect, so that a retry is never taken for a duplicate. A second
 * delivery that comes at the same time waits here until the first has committed or rolled back.
 */
export async function admit(
  tx: Transaction,
  contract: Contract,
  envelope: Envelope,
  facts: 'newest' | 'every',
): Promise<Verdict> {
  if (contract.kind === 'request' && contract.repeatable) return 'new';
  const noted = await tx.query(
    'INSERT INTO inbox (source, message_id) VALUES ($1, $2) ON CONFLICT DO NOTHING RETURNING 1',
    [envelope.source, envelope.id],
  );
  if (noted.length === 0) return 'duplicate';
  if (contract.kind === 'request' || facts === 'every') return 'new';
  const newer = await tx.query(
    `INSERT INTO heard AS h (source, subject, type, sequence) VALUES ($1, $2, $3, $4)
     ON CONFLICT (source, subject, type) DO UPDATE SET sequence = excluded.sequence
       WHERE h.sequence < excluded.sequence
     RETURNING 1`,
    [envelope.source, envelope.subject, envelope.type, envelope.sequence],
  );
  return newer.length > 0 ? 'new' : 'overtaken';
}
