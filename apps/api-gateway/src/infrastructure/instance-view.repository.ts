import { Injectable } from '@nestjs/common';
import { Database, type Transaction } from '#persistence/index.js';
import { type InstanceFilter, InstanceViews, type ViewChange } from '../application/ports.js';
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

@Injectable()
export class InstanceViewRepository extends InstanceViews {
  constructor(private readonly database: Database) {
    super();
  }

  async get(instanceId: string): Promise<InstanceView | undefined> {
    const sql = `SELECT ${selected} FROM instance_view WHERE instance_id = $1`;
    return (await this.database.query<InstanceView>(sql, [instanceId]))[0];
  }

  async list({ customerId, state, after, limit }: InstanceFilter): Promise<InstanceView[]> {
    return await this.database.query<InstanceView>(
      `SELECT ${selected} FROM instance_view
       WHERE ($1::text IS NULL OR customer_id = $1) AND ($2::text IS NULL OR state = $2)
         AND ($3::uuid IS NULL OR (created_at, instance_id) >
              (SELECT created_at, instance_id FROM instance_view WHERE instance_id = $3))
       ORDER BY created_at, instance_id LIMIT $4`,
      [customerId ?? null, state ?? null, after ?? null, limit],
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

  async merge(tx: Transaction, change: ViewChange): Promise<void> {
    const { instanceId, state, ...rest } = change;
    const rank = state ? rankOf(state) : 0;
    const fields = (Object.keys(columns) as (keyof typeof columns)[]).filter((field) => rest[field] !== undefined);
    const names = fields.map((field) => columns[field]);
    const places = fields.map((_, i) => `$${i + 4}`);
    const updates = fields.map((field) =>
      ofTheState.has(field)
        ? `${columns[field]} = CASE WHEN excluded.rank >= v.rank THEN excluded.${columns[field]} ELSE v.${columns[field]} END`
        : `${columns[field]} = excluded.${columns[field]}`,
    );
    await tx.query(
      `INSERT INTO instance_view AS v (${['instance_id', 'state', 'rank', ...names].join(', ')})
       VALUES (${['$1', '$2', '$3', ...places].join(', ')})
       ON CONFLICT (instance_id) DO UPDATE SET ${[
         ...updates,
         'state = CASE WHEN excluded.rank >= v.rank THEN excluded.state ELSE v.state END',
         'rank = greatest(v.rank, excluded.rank)',
         `state_since = CASE WHEN excluded.rank >= v.rank AND (excluded.state, excluded.reason) IS DISTINCT FROM
            (v.state, v.reason) THEN now() ELSE v.state_since END`,
         'updated_at = now()',
       ].join(', ')}`,
      [instanceId, state ?? 'requested', rank, ...fields.map((field) => rest[field])],
    );
  }
}
