import { Injectable } from '@nestjs/common';
import { Database, type Transaction } from '#persistence/index.js';
import { type Looked, type Noted, Schedules } from '../application/ports.js';

type Row = Omit<Looked, 'before'> & Partial<Noted> & { readonly savedBefore: Date | null };

/** One row of each, by an index. */
const look = `
  SELECT i.instance_id AS "instanceId", i.plan->>'name' AS plan, i.state, i.since,
    i.quiesce->>'deadline' AS "quiescedUntil", good.taken_at AS "savedAt", proved.taken_at AS "provedAt",
    asked.requested_at AS "begunAt",
    CASE WHEN open.found THEN 'under way' WHEN asked.state = 'failed' THEN 'failed' END AS newest,
    s.known_since AS "knownSince", s.unsaved_since AS "unsavedSince", s.saved_at AS "savedBefore",
    s.next_at AS "nextAt", s.late_at AS "lateAt", s.unproved_at AS "unprovedAt"
  FROM instance i
  LEFT JOIN schedule s USING (instance_id)
  LEFT JOIN LATERAL (SELECT b.taken_at FROM backup b
    WHERE b.instance_id = i.instance_id AND b.state = 'completed' AND b.fault IS NULL
    ORDER BY b.taken_at DESC LIMIT 1) good ON true
  LEFT JOIN LATERAL (SELECT b.taken_at FROM backup b
    WHERE b.instance_id = i.instance_id AND b.state = 'completed' AND b.verified->>'depth' = 'full' AND b.fault IS NULL
    ORDER BY b.taken_at DESC LIMIT 1) proved ON true
  LEFT JOIN LATERAL (SELECT b.requested_at, b.state FROM backup b
    WHERE b.instance_id = i.instance_id ORDER BY b.requested_at DESC LIMIT 1) asked ON true
  LEFT JOIN LATERAL (SELECT true AS found FROM backup b
    WHERE b.instance_id = i.instance_id AND b.state IN ('waiting', 'dumping', 'saving') LIMIT 1) open ON true
  WHERE i.state IN ('running', 'stopped', 'hibernated', 'suspended', 'maintenance')`;

@Injectable()
export class ScheduleRepository extends Schedules {
  constructor(private readonly database: Database) {
    super();
  }

  async look(after: string | undefined, limit: number): Promise<Looked[]> {
    const rows = await this.database.query<Row>(
      `${look} AND ($1::uuid IS NULL OR i.instance_id > $1) ORDER BY i.instance_id LIMIT $2`,
      [after ?? null, limit],
    );
    return rows.map(lookedOf);
  }

  async lookAt(tx: Transaction, instanceId: string): Promise<Looked | undefined> {
    const [row] = await tx.query<Row>(`${look} AND i.instance_id = $1`, [instanceId]);
    return row && lookedOf(row);
  }

  async note(tx: Transaction, instanceId: string, noted: Noted): Promise<void> {
    const { knownSince, unsavedSince, savedAt, nextAt, lateAt, unprovedAt } = noted;
    await tx.query(
      `INSERT INTO schedule (instance_id, known_since, unsaved_since, saved_at, next_at, late_at, unproved_at)
       VALUES ($1, $2, $3, $4, $5, $6, $7)
       ON CONFLICT (instance_id) DO UPDATE SET known_since = excluded.known_since,
         unsaved_since = excluded.unsaved_since, saved_at = excluded.saved_at, next_at = excluded.next_at,
         late_at = excluded.late_at, unproved_at = excluded.unproved_at`,
      [instanceId, knownSince, unsavedSince, savedAt, nextAt, lateAt, unprovedAt],
    );
  }

  async provedAt(tx: Transaction, instanceId: string): Promise<Date | null> {
    const [row] = await tx.query<{ takenAt: Date }>(
      `SELECT taken_at AS "takenAt" FROM backup
       WHERE instance_id = $1 AND state = 'completed' AND verified->>'depth' = 'full' AND fault IS NULL
       ORDER BY taken_at DESC LIMIT 1`,
      [instanceId],
    );
    return row?.takenAt ?? null;
  }
}

function lookedOf({ knownSince, unsavedSince, savedBefore, nextAt, lateAt, unprovedAt, ...seen }: Row): Looked {
  if (!knownSince) return seen;
  const before = {
    ...{ knownSince, savedAt: savedBefore, unsavedSince: unsavedSince ?? null },
    ...{ nextAt: nextAt ?? null, lateAt: lateAt ?? null, unprovedAt: unprovedAt ?? null },
  };
  return { ...seen, before };
}
