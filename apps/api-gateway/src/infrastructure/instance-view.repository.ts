import { Injectable } from '@nestjs/common';
import { Database, type Transaction } from '#persistence/index.js';
import { type InstanceFilter, InstanceViews, type ViewChange } from '../application/ports.js';
import type { Capacity } from '../domain/cell.js';
import { type InstanceView, rankOf } from '../domain/instance-view.js';

/** Field of the view → column. The state is set apart, because it never goes back. */
const columns = {
  customerId: 'customer_id',
  slug: 'slug',
  host: 'host',
  url: 'url',
  verified: 'verified',
  plan: 'plan',
  odooVersion: 'odoo_version',
  reason: 'reason',
  message: 'message',
  step: 'step',
  operationId: 'operation_id',
  footprintId: 'footprint_id',
  cell: 'cell',
  timings: 'timings',
} as const;

/** They tell about the state, so they are as old as the fact that told it. */
const ofTheState = new Set(['reason', 'message', 'step', 'url']);

const selected = [
  'instance_id AS "instanceId"',
  'state',
  'created_at AS "createdAt"',
  'updated_at AS "updatedAt"',
  'state_since AS "stateSince"',
  ...Object.entries(columns).map(([field, column]) => `${column} AS "${field}"`),
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
    return (await (tx ?? this.database).query<InstanceView>(sql, [instanceId]))[0];
  }

  async list({ customerId, state, slug, plan, cell, sort, after, limit }: InstanceFilter): Promise<InstanceView[]> {
    const [column, direction, beyond] = orders[sort];
    const behind = `(${column}, instance_id) ${beyond} (SELECT ${column}, instance_id FROM instance_view WHERE instance_id = $6)`;
    return await this.database.query<InstanceView>(
      `SELECT ${selected} FROM instance_view
       WHERE ($1::text IS NULL OR customer_id = $1) AND ($2::text IS NULL OR state = $2)
         AND ($3::text IS NULL OR slug = $3) AND ($4::text IS NULL OR plan = $4) AND ($5::text IS NULL OR cell = $5)
         AND ($6::uuid IS NULL OR ${behind})
       ORDER BY ${column} ${direction}, instance_id ${direction} LIMIT $7`,
      [customerId ?? null, state ?? null, slug ?? null, plan ?? null, cell ?? null, after ?? null, limit],
    );
  }

  async countByState(): Promise<ReadonlyMap<string, number>> {
    const rows = await this.database.query<{ state: string; count: number }>(
      'SELECT state, count(*)::int AS count FROM instance_view GROUP BY state',
    );
    return new Map(rows.map(({ state, count }) => [state, count]));
  }

  async byOperation(operationId: string): Promise<InstanceView | undefined> {
    const sql = `SELECT ${selected} FROM instance_view WHERE operation_id = $1 LIMIT 1`;
    return (await this.database.query<InstanceView>(sql, [operationId]))[0];
  }

  async holderOf(slug: string): Promise<string | undefined> {
    const rows = await this.database.query<{ instanceId: string }>(
      `SELECT instance_id AS "instanceId" FROM instance_view
       WHERE slug = $1 AND state NOT IN ('refused', 'terminated') LIMIT 1`,
      [slug],
    );
    return rows[0]?.instanceId;
  }

  async waiting(): Promise<Capacity['waiting']> {
    const [row] = await this.database.query<Capacity['waiting']>(
      `SELECT count(*)::int AS instances, min(state_since) AS since FROM instance_view WHERE state = 'waiting'`,
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
    const { instanceId, state, ...rest } = change;
    const rank = state ? rankOf(state) : 0;
    const fields = Object.keys(columns) as (keyof typeof columns)[];
    const given = fields.filter((field) => rest[field] !== undefined);
    const names = given.map((field) => columns[field]);
    const places = given.map((_, i) => `$${i + 4}`);
    const updates = fields.map((field) => `${columns[field]} = CASE ${casesOf(field, given.includes(field))} END`);
    await tx.queryPrepared(
      `INSERT INTO instance_view AS v (${['instance_id', 'state', 'rank', 'generation', ...names].join(', ')})
       VALUES (${['$1', '$2', '$3', '(SELECT generation FROM read_model)', ...places].join(', ')})
       ON CONFLICT (instance_id) DO UPDATE SET ${[
         ...updates,
         `state = CASE WHEN ${isNewer} THEN excluded.state ELSE v.state END`,
         `rank = CASE WHEN ${isNewer} THEN excluded.rank ELSE v.rank END`,
         `state_since = CASE WHEN ${isNewer} AND (excluded.state, excluded.reason) IS DISTINCT FROM (v.state, v.reason)
            THEN now() ELSE v.state_since END`,
         'generation = excluded.generation',
         'updated_at = now()',
       ].join(', ')}`,
      [instanceId, state ?? 'requested', rank, ...given.map((field) => rest[field])],
    );
  }
}

const isOfBefore = 'v.generation < excluded.generation';
const isNewer = `(excluded.rank >= v.rank OR ${isOfBefore})`;

/** What becomes of a column of a row that is there. */
function casesOf(field: keyof typeof columns, given: boolean): string {
  const column = columns[field];
  const anew = `WHEN ${isOfBefore} THEN excluded.${column}`;
  if (!given) return `${anew} ELSE v.${column}`;
  return ofTheState.has(field)
    ? `WHEN ${isNewer} THEN excluded.${column} ELSE v.${column}`
    : `${anew} ELSE excluded.${column}`;
}
