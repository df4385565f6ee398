import { Injectable } from '@nestjs/common';
import { Database, type Transaction } from '#persistence/index.js';
import { type BackupChange, type BackupFilter, BackupViews, type Refusal } from '../application/ports.js';
import type { BackupView } from '../domain/backup-view.js';

/** Field of a change → column. */
const columns = {
  instanceId: 'instance_id',
  why: 'why',
  takenAt: 'taken_at',
  template: 'template',
  databaseBytes: 'database_bytes',
  filesBytes: 'files_bytes',
  files: 'files',
  checksum: 'checksum',
  expiresAt: 'expires_at',
  verifiedSequence: 'verified_sequence',
  verifiedAt: 'verified_at',
  depth: 'depth',
  offSite: 'off_site',
  filesSeen: 'files_seen',
  filesMissing: 'files_missing',
  rtoMs: 'rto_ms',
  rows: 'row_count',
  held: 'held',
  holdReason: 'hold_reason',
  expiredAt: 'expired_at',
  failedSequence: 'failed_sequence',
  code: 'code',
  message: 'message',
  operationId: 'operation_id',
  requestedBy: 'requested_by',
  reason: 'reason',
} as const;
type Field = keyof typeof columns;
const fields = Object.keys(columns) as Field[];

/** Said here, or in facts that are not said again: they outlive a rebuild. */
const kept = new Set<Field>(['operationId', 'requestedBy', 'reason', 'failedSequence', 'code', 'message']);

/** Numbers that outgrow PostgreSQL's integer and not JSON's numbers. */
const large = new Set<Field>(['databaseBytes', 'filesBytes', 'rtoMs', 'rows']);

/** Sequences are of one count for all facts about a backup. */
const isBad = 'coalesce(failed_sequence, 0) > coalesce(verified_sequence, 0)';

/** From these an instance can be had again. */
export const restorable = `taken_at IS NOT NULL AND expired_at IS NULL AND NOT ${isBad}`;

const shownState = `CASE
  WHEN expired_at IS NOT NULL THEN 'expired'
  WHEN ${isBad} THEN 'failed'
  WHEN verified_sequence IS NOT NULL THEN 'verified'
  WHEN taken_at IS NOT NULL THEN 'completed'
  WHEN refused THEN 'refused'
  ELSE 'requested' END`;

/** What is shown where it is not the column itself. */
const shown: Readonly<Partial<Record<Field, string>>> = {
  // A later proof may have shown that it is good.
  code: `CASE WHEN ${shownState} IN ('failed', 'refused') THEN code END`,
  message: `CASE WHEN ${shownState} IN ('failed', 'refused') THEN message END`,
};

const selected = [
  'backup_id AS "backupId"',
  `${shownState} AS state`,
  'noted_at AS "notedAt"',
  ...fields
    .filter((field) => field !== 'verifiedSequence' && field !== 'failedSequence')
    .map((field) => `${shown[field] ?? columns[field]}${large.has(field) ? '::float8' : ''} AS "${field}"`),
].join(', ');

const order = '(coalesce(taken_at, noted_at), backup_id)';

@Injectable()
export class BackupViewRepository extends BackupViews {
  constructor(private readonly database: Database) {
    super();
  }

  async get(backupId: string, tx?: Transaction): Promise<BackupView | undefined> {
    const sql = `SELECT ${selected} FROM backup_view WHERE backup_id = $1`;
    return (await (tx ?? this.database).query<BackupView>(sql, [backupId]))[0];
  }

  async of(instanceId: string, { state, after, limit }: BackupFilter): Promise<BackupView[]> {
    return await this.database.query<BackupView>(
      `SELECT ${selected} FROM backup_view
       WHERE instance_id = $1 AND ($2::text IS NULL OR ${shownState} = $2)
         AND ($3::uuid IS NULL OR ${order} < (SELECT coalesce(taken_at, noted_at), backup_id FROM backup_view WHERE backup_id = $3))
       ORDER BY coalesce(taken_at, noted_at) DESC, backup_id DESC LIMIT $4`,
      [instanceId, state ?? null, after ?? null, limit],
    );
  }

  async finalOf(instanceId: string): Promise<BackupView | undefined> {
    const [found] = await this.database.query<BackupView>(
      `SELECT ${selected} FROM backup_view WHERE instance_id = $1 AND why = 'final'
       ORDER BY coalesce(taken_at, noted_at) DESC, backup_id DESC LIMIT 1`,
      [instanceId],
    );
    return found;
  }

  async merge(tx: Transaction, { backupId, ...change }: BackupChange): Promise<void> {
    const given = fields.filter((field) => change[field] !== undefined);
    const names = given.map((field) => columns[field]);
    const updates = fields.map((field) => `${columns[field]} = ${changeOf(field, given.includes(field))}`);
    await tx.queryPrepared(
      `INSERT INTO backup_view AS v (${['backup_id', 'generation', ...names].join(', ')})
       VALUES (${['$1', '(SELECT generation FROM read_model)', ...given.map((_, i) => `$${i + 2}`)].join(', ')})
       ON CONFLICT (backup_id) DO UPDATE SET ${[...updates, 'generation = excluded.generation'].join(', ')}`,
      [backupId, ...given.map((field) => change[field])],
    );
  }

  async refuse(tx: Transaction, backupId: string, { requestId, code, message }: Refusal): Promise<void> {
    await tx.query(
      `UPDATE backup_view SET refused = true, code = $3, message = $4
       WHERE backup_id = $1 AND operation_id = $2 AND failed_sequence IS NULL AND taken_at IS NULL`,
      [backupId, requestId, code, message],
    );
  }
}

/** What becomes of a column of a row that is there. */
function changeOf(field: Field, given: boolean): string {
  const column = columns[field];
  if (given) return `excluded.${column}`;
  if (kept.has(field)) return `v.${column}`;
  return `CASE WHEN v.generation < excluded.generation THEN excluded.${column} ELSE v.${column} END`;
}
