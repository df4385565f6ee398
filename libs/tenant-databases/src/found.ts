import { TenantDatabaseError } from './errors.js';
import { type Mark, readMark } from './mark.js';
import type { Session, Shard } from './shard.js';

/** A tenant: one role and one database of the same, never used again, name. */
export interface Tenant {
  readonly name: string;
  readonly footprintId: string;
  readonly epoch: number;
}

/** Nobody's yet: the tenant does not get in. */
export type BeingFilled = 'empty' | 'filling' | 'filled';

export interface ObservedTenant {
  readonly role: 'absent' | 'ours' | 'foreign';
  /**
   * `copying`: begun, not finished; `owned`: everything in it is the tenant's; `personal`: it carries its names. Of one
   * that a backup fills: `empty` until then, `filling`, and `filled` until it is opened to the tenant, which is `owned`.
   */
  readonly database: 'absent' | 'foreign' | 'copying' | 'owned' | 'personal' | BeingFilled;
}

export interface Found {
  readonly role_comment: string | null;
  readonly role_there: boolean;
  readonly database_comment: string | null;
  readonly database_there: boolean;
  readonly allowed: boolean | null;
  readonly owned_by_us: boolean | null;
}

type Ask = (sql: string, parameters: unknown[]) => Promise<Found[]>;

async function find(ask: Ask, role: string, database: string): Promise<Found> {
  const [found] = await ask(
    `SELECT r.oid IS NOT NULL AS role_there, shobj_description(r.oid, 'pg_authid') AS role_comment,
       d.oid IS NOT NULL AS database_there, shobj_description(d.oid, 'pg_database') AS database_comment,
       d.datallowconn AS allowed, d.datdba = (SELECT oid FROM pg_roles WHERE rolname = current_user) AS owned_by_us
     FROM (SELECT $1::name AS role, $2::name AS database) wanted
     LEFT JOIN pg_roles r ON r.rolname = wanted.role
     LEFT JOIN pg_database d ON d.datname = wanted.database`,
    [role, database],
  );
  return found!;
}

/** The tenant's role, and its database or a copy of that. */
export const findIn = (session: Session, { name }: Tenant, database = name) =>
  find(async (sql, parameters) => (await session.query<Found>(sql, parameters)).rows, name, database);

export const findOn = (shard: Shard, { name }: Tenant) =>
  find((sql, parameters) => shard.query<Found>(sql, parameters), name, name);

function isOurs(shard: Shard, tenant: Tenant, comment: string | null): Mark | undefined {
  const mark = readMark(comment);
  return mark?.mesh === shard.meshName && mark.footprint === tenant.footprintId ? mark : undefined;
}

/**
 * A database without a comment was begun by us when it belongs to the mesh's role and lets nobody in: we died between
 * CREATE DATABASE and COMMENT. Its name is this footprint's alone, so going on with it takes nothing from anybody.
 */
export function isJustBegun(found: Found): boolean {
  return found.database_comment === null && found.owned_by_us === true && found.allowed === false;
}

export function roleState(shard: Shard, tenant: Tenant, found: Found): ObservedTenant['role'] {
  if (!found.role_there) return 'absent';
  return isOurs(shard, tenant, found.role_comment) ? 'ours' : 'foreign';
}

export function databaseState(shard: Shard, tenant: Tenant, found: Found): ObservedTenant['database'] {
  if (!found.database_there) return 'absent';
  if (isJustBegun(found)) return 'copying';
  const mark = isOurs(shard, tenant, found.database_comment);
  if (!mark) return 'foreign';
  return mark.state === undefined || mark.state === 'copied' ? 'copying' : mark.state;
}

/** It is the tenant's. */
export function isFinished(state: ObservedTenant['database']): state is 'owned' | 'personal' {
  return state === 'owned' || state === 'personal';
}

export function isBeingFilled(state: ObservedTenant['database']): state is BeingFilled {
  return state === 'empty' || state === 'filling' || state === 'filled';
}

export function inUse(tenant: Tenant, why: string): TenantDatabaseError {
  return new TenantDatabaseError('DATABASE_IN_USE', `database ${tenant.name} ${why}; it was left alone`, false);
}

export function foreign(what: 'role' | 'database', tenant: Tenant, name = tenant.name): TenantDatabaseError {
  return new TenantDatabaseError(
    'FOREIGN_OBJECT',
    `a ${what} ${name} exists and does not carry the mark of footprint ${tenant.footprintId}; it was left alone`,
    false,
  );
}
