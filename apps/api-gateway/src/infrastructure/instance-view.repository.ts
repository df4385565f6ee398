import { Injectable } from '@nestjs/common';
import { Database, type Transaction } from '#persistence/index.js';
import { type InstanceFilter, InstanceViews, type ViewChange } from '../application/ports.js';
import type { Capacity } from '../domain/cell.js';
import { type InstanceView, rankOf, stateOf, urlAt } from '../domain/instance-view.js';
import { restorable } from './backup-view.repository.js';

/**
 * Field of the view → column. The state is set apart: `state`, `reason` and `message` are of the making, as planner and
 * provisioner tell of it, where it never goes back; lifecycle's word has columns of its own beside them.
 */
const columns = {
  customerId: 'customer_id',
  slug: 'slug',
  host: 'host',
  customDomains: 'custom_domains',
  url: 'url',
  verified: 'verified',
  plan: 'plan',
  odooVersion: 'odoo_version',
  reason: 'reason',
  message: 'message',
  step: 'step',
  operationId: 'operation_id',
  footprintId: 'footprint_id',
  previousFootprintId: 'previous_footprint_id',
  cell: 'cell',
  timings: 'timings',
  desired: 'desired',
  image: 'image',
  operation: 'operation',
} as const;

/** They tell about the state, so they are as old as the fact that told it. */
const ofTheState = new Set(['reason', 'message', 'step', 'url']);

/** Others tell of them too, and lifecycle is right where it says anything: not of the cell, as long as it is the first. */
const ofLifecycle = new Set(['plan', 'host', 'slug', 'footprintId', 'cell']);

const shownState = `CASE WHEN state = 'terminated' THEN state ELSE coalesce(lifecycle_state, state) END`;

/** What is shown where it is not the column itself. */
const shown: Readonly<Partial<Record<keyof typeof columns, string>>> = {
  reason: `CASE WHEN lifecycle_state IS NULL THEN reason
    WHEN ${shownState} = 'provisioning' THEN coalesce(reason, lifecycle_reason)
    WHEN ${shownState} = lifecycle_state THEN lifecycle_reason END`,
  message: `CASE WHEN lifecycle_state IS NULL OR ${shownState} = 'provisioning'
    OR (${shownState} = 'failed' AND state = 'failed') THEN message END`,
  url: `CASE WHEN ${shownState} <> 'terminated' THEN url END`,
  // They may be somebody else's by then.
  customDomains: `CASE WHEN ${shownState} = 'terminated' THEN '{}' ELSE custom_domains END`,
};

const shownSince = `CASE WHEN lifecycle_state IS NULL OR ${shownState} <> lifecycle_state
  OR (lifecycle_state = 'provisioning' AND reason IS NOT NULL) THEN state_since ELSE lifecycle_since END`;

/** A minute is near enough, and keeps the answer the same for one. */
const lastBackup = `(
  SELECT jsonb_build_object('backupId', backup_id, 'takenAt', taken_at, 'verified', verified_sequence IS NOT NULL,
    'ageSeconds', greatest(0, floor(extract(epoch FROM now() - taken_at) / 60) * 60)::bigint)
  FROM backup_view WHERE backup_view.instance_id = instance_view.instance_id AND ${restorable}
  ORDER BY coalesce(taken_at, noted_at) DESC LIMIT 1)`;

const selected = [
  'instance_id AS "instanceId"',
  `${shownState} AS state`,
  'created_at AS "createdAt"',
  'updated_at AS "updatedAt"',
  `${shownSince} AS "stateSince"`,
  `${lastBackup} AS "lastBackup"`,
  ...Object.entries(columns).map(
    ([field, column]) => `${shown[field as keyof typeof columns] ?? column} AS "${field}"`,
  ),
].join(', ');

/** What is without a slug stands at the end of those with one: comparisons of rows know no NULL. */
const bySlug = `coalesce(slug, '~')`;
const orders = {
  created: ['created_at', 'ASC', '>'],
  '-created': ['created_at', 'DESC', '<'],
  slug: [bySlug, 'ASC', '>'],
  '-slug': [bySlug, 'DESC', '<'],
} as const;

@Injectable()
export class InstanceViewRepository extends InstanceViews {
  constructor(private readonly database: Database) {
    super();
  }

  async get(instanceId: string, tx?: Transaction): Promise<InstanceView | undefined> {
    const sql = `SELECT ${selected} FROM instance_view WHERE instance_id = $1`;
    return (await this.select(sql, [instanceId], tx))[0];
  }

  async list({ customerId, state, slug, plan, cell, sort, after, limit }: InstanceFilter): Promise<InstanceView[]> {
    const [column, direction, beyond] = orders[sort];
    const behind = `(${column}, instance_id) ${beyond} (SELECT ${column}, instance_id FROM instance_view WHERE instance_id = $6)`;
    return await this.select(
      `SELECT ${selected} FROM instance_view
       WHERE ($1::text IS NULL OR customer_id = $1) AND ($2::text IS NULL OR ${shownState} = $2)
         AND ($3::text IS NULL OR slug = $3) AND ($4::text IS NULL OR plan = $4) AND ($5::text IS NULL OR cell = $5)
         AND ($6::uuid IS NULL OR ${behind})
       ORDER BY ${column} ${direction}, instance_id ${direction} LIMIT $7`,
      [customerId ?? null, state ?? null, slug ?? null, plan ?? null, cell ?? null, after ?? null, limit],
    );
  }

  async countByState(): Promise<ReadonlyMap<string, number>> {
    const rows = await this.database.query<{ state: string; count: number }>(
      `SELECT ${shownState} AS state, count(*)::int AS count FROM instance_view GROUP BY 1`,
    );
    return new Map(rows.map(({ state, count }) => [state, count]));
  }

  async byOperation(operationId: string): Promise<InstanceView | undefined> {
    const sql = `SELECT ${selected} FROM instance_view WHERE operation_id = $1 LIMIT 1`;
    return (await this.select(sql, [operationId]))[0];
  }

  async holderOf(slug: string): Promise<string | undefined> {
    const rows = await this.database.query<{ instanceId: string }>(
      `SELECT instance_id AS "instanceId" FROM instance_view
       WHERE slug = $1 AND ${shownState} NOT IN ('refused', 'terminated') LIMIT 1`,
      [slug],
    );
    return rows[0]?.instanceId;
  }

  async waiting(): Promise<Capacity['waiting']> {
    const [row] = await this.database.query<Capacity['waiting']>(
      `SELECT count(*)::int AS instances, min(state_since) AS since FROM instance_view
       WHERE state = 'waiting' AND lifecycle_state IS NULL`,
    );
    return row!;
  }

  async startAnew(tx: Transaction): Promise<void> {
    await tx.query('UPDATE read_model SET generation = generation + 1, started_at = now()');
  }

  async progress(): Promise<{ generation: number; startedAt: Date | null; instances: number; old: number }> {
    const [row] = await this.database.query<{
      generation: number;
      startedAt: Date | null;
      instances: number;
      old: number;
    }>(
      `SELECT m.generation, m.started_at AS "startedAt", count(v.instance_id)::int AS instances,
         count(*) FILTER (WHERE v.generation < m.generation)::int AS old
       FROM read_model m LEFT JOIN instance_view v ON true GROUP BY m.generation, m.started_at`,
    );
    return row!;
  }

  async merge(tx: Transaction, change: ViewChange): Promise<void> {
    const { instanceId, state = 'requested', lifecycle, ...rest } = change;
    const fields = Object.keys(columns) as (keyof typeof columns)[];
    const given = fields.filter((field) => rest[field] !== undefined);
    const names = given.map((field) => columns[field]);
    const places = given.map((_, i) => `$${i + 7}`);
    const updates = fields.map((field) => `${columns[field]} = CASE ${casesOf(field, given.includes(field))} END`);
    await tx.queryPrepared(
      `INSERT INTO instance_view AS v (${[...always, ...names].join(', ')})
       VALUES ($1, $2, $3, $4, $5, $6, ${['(SELECT generation FROM read_model)', ...places].join(', ')})
       ON CONFLICT (instance_id) DO UPDATE SET ${[
         ...updates,
         `state = CASE WHEN ${isNewer} THEN excluded.state ELSE v.state END`,
         `rank = CASE WHEN ${isNewer} THEN excluded.rank ELSE v.rank END`,
         `state_since = CASE WHEN ${isNewer} AND (excluded.state, excluded.reason) IS DISTINCT FROM (v.state, v.reason)
            THEN now() ELSE v.state_since END`,
         ...lifecycleColumns.map(
           (column) => `${column} = CASE WHEN ${isOfBefore} OR ${isOfLifecycle}
            THEN excluded.${column} ELSE v.${column} END`,
         ),
         'generation = excluded.generation',
         'updated_at = now()',
       ].join(', ')}`,
      [
        ...[instanceId, stateOf(state), rankOf(state)],
        ...[lifecycle?.state, lifecycle?.reason, lifecycle?.since].map((word) => word ?? null),
        ...given.map((field) => rest[field]),
      ],
    );
  }

  private async select(sql: string, parameters: unknown[], tx?: Transaction): Promise<InstanceView[]> {
    const rows = await (tx ?? this.database).query<InstanceView>(sql, parameters);
    return rows.map(({ lastBackup, ...row }) => ({
      ...row,
      url: urlAt(row.url, row.host),
      lastBackup: lastBackup && { ...lastBackup, takenAt: new Date(lastBackup.takenAt) },
    }));
  }
}

const lifecycleColumns = ['lifecycle_state', 'lifecycle_reason', 'lifecycle_since'] as const;
const always = ['instance_id', 'state', 'rank', ...lifecycleColumns, 'generation'] as const;

const isOfBefore = 'v.generation < excluded.generation';
const isOfLifecycle = 'excluded.lifecycle_state IS NOT NULL';
const isNewer = `(excluded.rank >= v.rank OR ${isOfBefore})`;

/** What becomes of a column of a row that is there. */
function casesOf(field: keyof typeof columns, given: boolean): string {
  const column = columns[field];
  const anew = `WHEN ${isOfBefore} THEN excluded.${column}`;
  if (!given) return `${anew} ELSE v.${column}`;
  if (ofTheState.has(field)) return `WHEN ${isNewer} THEN excluded.${column} ELSE v.${column}`;
  if (ofLifecycle.has(field))
    return `${anew} WHEN v.lifecycle_state IS NULL OR v.${column} IS NULL OR ${isOfLifecycle} THEN excluded.${column} ELSE v.${column}`;
  return `${anew} ELSE excluded.${column}`;
}
