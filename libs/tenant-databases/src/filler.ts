import { randomBytes } from 'node:crypto';
import { findIn, foreign, roleState, type Tenant } from './found.js';
import { checkTenantName, quoteName, quoteText } from './identifiers.js';
import { writeMark } from './mark.js';
import { scramVerifier } from './scram.js';
import type { Session, Shard } from './shard.js';

/**
 * The role that fills a database from a backup. What is in a dump was written by a customer, and some of it runs while it
 * is restored (checks, expressions of indexes, materialised views) or changed (triggers). The mesh's own role could be
 * made to change any other role that way; this one may do what its tenant may, in this one database, and nothing else.
 */
export function fillerOf(tenant: Tenant): string {
  return checkTenantName(`${tenant.name}_fill`);
}

/**
 * Makes it, or gives it a new password, so that whoever was given one before does not get in any more. Within
 * `exclusively`. Throws FOREIGN_OBJECT.
 */
export async function newFiller(session: Session, shard: Shard, tenant: Tenant): Promise<{ password: string }> {
  const name = fillerOf(tenant);
  const role = quoteName(name);
  const found = await fillerState(session, shard, tenant);
  if (found === 'foreign') throw foreign('role', tenant, name);
  const password = randomBytes(24).toString('hex');
  const mark = writeMark({ mesh: shard.meshName, footprint: tenant.footprintId, epoch: tenant.epoch });
  await session.query('BEGIN');
  const make = found === 'absent' ? 'CREATE ROLE' : 'ALTER ROLE';
  await session.query(`${make} ${role} LOGIN PASSWORD ${quoteText(scramVerifier(password))}`);
  await session.query(`COMMENT ON ROLE ${role} IS ${quoteText(mark)}`);
  await session.query('COMMIT');
  // To hand its things over one has to be a member.
  await session.query(`GRANT ${role} TO CURRENT_USER`);
  await session.query('SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE usename = $1', [name]);
  return { password };
}

export async function fillerState(session: Session, shard: Shard, tenant: Tenant) {
  return roleState(shard, tenant, await findIn(session, { ...tenant, name: fillerOf(tenant) }));
}

/** When nothing is its any more. Gone already is no error. Within `exclusively`. */
export async function dropFiller(session: Session, shard: Shard, tenant: Tenant): Promise<void> {
  if ((await fillerState(session, shard, tenant)) !== 'ours') return;
  await session.query(`DROP ROLE ${quoteName(fillerOf(tenant))}`);
}
