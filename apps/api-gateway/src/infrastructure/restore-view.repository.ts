import { Injectable } from '@nestjs/common';
import { Database, type Transaction } from '#persistence/index.js';
import { type Refusal, type RestoreChange, RestoreViews } from '../application/ports.js';
import { type RestoreView, rankOf } from '../domain/restore-view.js';

/** Field of a change → column; those of the state stand below. */
const columns = {
  instanceId: 'instance_id',
  backupId: 'backup_id',
  mode: 'mode',
  to: 'clone',
  footprintId: 'footprint_id',
  safetyBackupId: 'safety_backup_id',
  durationMs: 'duration_ms',
  rows: 'row_count',
  files: 'files',
  operationId: 'operation_id',
  requestedBy: 'requested_by',
  reason: 'reason',
} as const;

/** They tell about the state, so they are as old as the fact that told it. */
const ofTheState = {
  state: 'state',
  step: 'step',
  steps: 'steps',
  message: 'message',
  code: 'code',
  endedAt: 'ended_at',
} as const;

/** Said by who asks here alone, and so not again: they outlive a rebuild. */
const kept = new Set<string>(['to', 'operationId', 'requestedBy', 'reason']);

const large = new Set<string>(['durationMs', 'rows']);

const selected = [
  'restore_id AS "restoreId"',
  'noted_at AS "notedAt"',
  'step_since AS "stepSince"',
  ...Object.entries({ ...columns, ...ofTheState }).map(
    ([field, column]) => `${column}${large.has(field) ? '::float8' : ''} AS "${field}"`,
  ),
].join(', ');

const isOfBefore = 'v.generation < excluded.generation';
const isNewer = `(excluded.rank >= v.rank OR ${isOfBefore})`;

@Injectable()
export class RestoreViewRepository extends RestoreViews {
  constructor(private readonly database: Database) {
    super();
  }

  async get(restoreId: string, tx?: Transaction): Promise<RestoreView | undefined> {
    const sql = `SELECT ${selected} FROM restore_view WHERE restore_id = $1`;
    return (await (tx ?? this.database).query<RestoreView>(sql, [restoreId]))[0];
  }

  async underWay(instanceId: string): Promise<RestoreView | undefined> {
    const [found] = await this.database.query<RestoreView>(
      `SELECT ${selected} FROM restore_view
       WHERE state IN ('requested', 'running') AND rank < 3
         AND ((instance_id = $1 AND mode <> 'clone') OR clone->>'instanceId' = $1::text)
       ORDER BY noted_at DESC LIMIT 1`,
      [instanceId],
    );
    return found;
  }

  async merge(tx: Transaction, { restoreId, stepSince, ...change }: RestoreChange): Promise<void> {
    const all = { ...columns, ...ofTheState };
    const given = (Object.keys(all) as (keyof typeof all)[]).filter((field) => change[field] !== undefined);
    const names = given.map((field) => all[field]);
    const updates = Object.entries(all).map(
      ([field, column]) => `${column} = ${changeOf(field, column, (given as string[]).includes(field))}`,
    );
    await tx.queryPrepared(
      `INSERT INTO restore_view AS v (${['restore_id', 'rank', 'step_since', 'generation', ...names].join(', ')})
       VALUES ($1, $2, $3, ${['(SELECT generation FROM read_model)', ...given.map((_, i) => `$${i + 4}`)].join(', ')})
       ON CONFLICT (restore_id) DO UPDATE SET ${[
         ...updates,
         `rank = CASE WHEN ${isNewer} THEN excluded.rank ELSE v.rank END`,
         `step_since = CASE WHEN ${isOfBefore} OR (${isNewer} AND excluded.step IS NOT NULL
            AND excluded.step IS DISTINCT FROM v.step) THEN excluded.step_since ELSE v.step_since END`,
         'generation = excluded.generation',
       ].join(', ')}`,
      [
        ...[restoreId, rankOf(change.state), stepSince ?? null],
        ...given.map((field) => (field === 'steps' ? JSON.stringify(change.steps) : change[field])),
      ],
    );
  }

  async refuse(tx: Transaction, restoreId: string, refusal: Refusal): Promise<RestoreView | undefined> {
    const { requestId, code, message } = refusal;
    const [refused] = await tx.query<RestoreView>(
      `UPDATE restore_view SET state = 'refused', rank = $5, code = $3, message = $4, ended_at = now()
       WHERE restore_id = $1 AND operation_id = $2 AND state = 'requested' RETURNING ${selected}`,
      [restoreId, requestId, code, message, rankOf('refused')],
    );
    return refused;
  }
}

/** What becomes of a column of a row that is there. */
function changeOf(field: string, column: string, given: boolean): string {
  if (field in ofTheState && given) return `CASE WHEN ${isNewer} THEN excluded.${column} ELSE v.${column} END`;
  if (given) return `excluded.${column}`;
  if (kept.has(field)) return `v.${column}`;
  return `CASE WHEN ${isOfBefore} THEN excluded.${column} ELSE v.${column} END`;
}
