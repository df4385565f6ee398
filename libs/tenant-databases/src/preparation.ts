import { backupRole } from './prepare-shard.js';
import type { Shard } from './shard.js';

/** What an administrator's preparation has to hold, each with the words for when it does not. */
const conditions: readonly (readonly [sql: string, missing: string])[] = [
  [`NOT has_database_privilege('public', 'postgres', 'CONNECT')`, 'everybody may connect to postgres'],
  [`NOT has_database_privilege('public', 'template1', 'CONNECT')`, 'everybody may connect to template1'],
  [`NOT has_function_privilege('public', 'pg_advisory_lock(bigint)', 'EXECUTE')`, 'everybody may take advisory locks'],
  [
    `NOT has_function_privilege('public', 'lo_create(oid)', 'EXECUTE')`,
    'everybody may leave large objects in postgres',
  ],
  [`NOT has_schema_privilege('public', 'public', 'CREATE')`, 'everybody may make tables in postgres'],
  [
    `coalesce(has_database_privilege(to_regrole($1), 'postgres', 'CONNECT'), false)`,
    'tenants may not connect to postgres, so that no Odoo starts',
  ],
  [`NOT (SELECT rolsuper FROM pg_roles WHERE rolname = current_user)`, 'the mesh’s role is a superuser'],
  [
    `(SELECT rolcreatedb AND rolcreaterole FROM pg_roles WHERE rolname = current_user)`,
    'the mesh’s role may not make databases and roles',
  ],
];

/**
 * What is missing of the shard's preparation (`prepareShard`), without which tenants would not be apart; nothing: it is as
 * it has to be. Throws when the shard cannot be asked.
 */
export async function missingPreparation(shard: Shard): Promise<string[]> {
  const [row] = await shard.query<{ held: boolean[] }>(
    `SELECT ARRAY[${conditions.map(([sql]) => sql).join(', ')}] AS held`,
    [shard.tenantGroup],
  );
  return conditions.filter((_, index) => row!.held[index] !== true).map(([, missing]) => missing);
}

const ofBackup: readonly (readonly [sql: string, missing: string])[] = [
  ['bool_and(r.rolcanlogin)', 'there is no role that reads tenants for their backups'],
  ['bool_and(r.rolbypassrls)', 'row policies of tenants would be run by the role that backs them up'],
  [
    'bool_and(NOT (r.rolsuper OR r.rolcreaterole OR r.rolcreatedb OR r.rolreplication))',
    'the role that backs tenants up may do more than read',
  ],
  [`bool_and(pg_has_role(r.oid, to_regrole($2), 'USAGE'))`, 'the role that backs tenants up is not one of the readers'],
  [`pg_has_role(to_regrole($2), 'pg_read_all_data', 'USAGE')`, 'the readers may not read'],
];

/** As `missingPreparation`, of what backups need besides. */
export async function missingForBackups(shard: Shard): Promise<string[]> {
  const [row] = await shard.query<{ held: boolean[] }>(
    `SELECT ARRAY[${ofBackup.map(([sql]) => sql).join(', ')}] AS held FROM pg_roles r WHERE r.rolname = $1`,
    [backupRole(shard.meshName), shard.readerGroup],
  );
  return ofBackup.filter((_, index) => row!.held[index] !== true).map(([, missing]) => missing);
}
