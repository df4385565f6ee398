import { Injectable } from '@nestjs/common';
import { Database } from '#persistence/index.js';
import { type BackupFigures, Figured } from '../application/ports.js';

const secondsSince = (moment: string) => `coalesce(extract(epoch FROM now() - min(${moment})), 0)::float8`;

@Injectable()
export class FiguresRepository extends Figured {
  constructor(private readonly database: Database) {
    super();
  }

  async figures(): Promise<BackupFigures> {
    const [plans, states, restores, [more]] = await Promise.all([
      this.database.query<BackupFigures['plans'][number]>(
        `SELECT i.plan->>'name' AS plan, count(*)::int AS instances,
           count(*) FILTER (WHERE s.late_at < now())::int AS late,
           count(*) FILTER (WHERE s.unproved_at < now())::int AS unproved,
           ${secondsSince('s.unsaved_since')} AS "oldestUnsaved"
         FROM instance i LEFT JOIN schedule s USING (instance_id)
         WHERE i.state IN ('running', 'stopped', 'hibernated', 'suspended', 'maintenance') GROUP BY 1`,
      ),
      this.database.query<{ state: string; count: number }>(
        'SELECT state, count(*)::int AS count FROM backup GROUP BY 1',
      ),
      this.database.query<{ mode: string; count: number }>(
        `SELECT mode, count(*)::int AS count FROM restore WHERE status <> 'ended' GROUP BY 1`,
      ),
      this.database.query<{
        held: number;
        bad: number;
        filesMissing: number;
        waiting: number;
        expiring: number;
        restore: number;
      }>(
        `SELECT (SELECT count(*) FROM backup WHERE held IS NOT NULL AND state = 'completed')::int AS held,
           (SELECT count(*) FROM backup WHERE state = 'completed' AND fault IS NOT NULL
             AND taken_at > now() - interval '1 day')::int AS bad,
           (SELECT count(*) FROM instance i CROSS JOIN LATERAL
             (SELECT b.verified FROM backup b WHERE b.instance_id = i.instance_id AND b.state = 'completed'
                AND b.verified->>'depth' = 'full' AND b.fault IS NULL ORDER BY b.taken_at DESC LIMIT 1) proved
             WHERE i.state <> 'terminated' AND (proved.verified->>'filesMissing')::int > 0)::int AS "filesMissing",
           (SELECT ${secondsSince('requested_at')} FROM backup WHERE state = 'waiting') AS waiting,
           (SELECT ${secondsSince('expires_at')} FROM
             (SELECT expires_at FROM backup WHERE state = 'expiring'
              UNION ALL SELECT sweep_at FROM held_contents WHERE sweep_at < now()) over (expires_at)) AS expiring,
           (SELECT ${secondsSince('started_at')} FROM restore WHERE status <> 'ended' AND mode <> 'proof') AS restore`,
      ),
    ]);
    const { held, bad, filesMissing, ...oldest } = more!;
    return {
      ...{ plans, held, bad, filesMissing, oldest },
      states: new Map(states.map(({ state, count }) => [state, count])),
      restores: new Map(restores.map(({ mode, count }) => [mode, count])),
    };
  }
}
