import { databaseState, type Found, findIn, foreign, inUse, isJustBegun, type Tenant } from './found.js';
import { checkTenantName, quoteName } from './identifiers.js';
import type { Fence, Session, Shard } from './shard.js';
import { markDatabase } from './tenant.js';

/**
 * A database of this footprint for a backup to fill, with nothing in it, and nobody gets in. What is there already of this
 * footprint is left as it is: empty, filled, or long the tenant's. May be cut off after any statement and run again.
 * Throws FOREIGN_OBJECT for what is not this footprint's, DATABASE_IN_USE for a copy of a template in the making.
 */
export async function makeEmptyDatabase(shard: Shard, tenant: Tenant, fence?: Fence): Promise<void> {
  checkTenantName(tenant.name);
  await shard.exclusively(
    tenant.name,
    async (session) => {
      const found = await findIn(session, tenant);
      const state = databaseState(shard, tenant, found);
      if (state === 'foreign') throw foreign('database', tenant);
      if (state === 'absent') await createEmpty(session, tenant);
      else if (state === 'copying') expectJustBegun(found, tenant);
      else return;
      await closeToAll(session, tenant);
      await markDatabase(session, shard, tenant, 'empty');
    },
    fence,
  );
}

/** Of the encoding and the locale that templates have; with nobody let in. Within `exclusively`. */
export async function createEmpty(session: Session, { name }: Tenant): Promise<void> {
  await session.query(`CREATE DATABASE ${quoteName(name)} TEMPLATE template0 ENCODING 'UTF8' ALLOW_CONNECTIONS false`);
}

/** Within `exclusively`. */
export async function closeToAll(session: Session, { name }: Tenant): Promise<void> {
  await session.query(`REVOKE ALL ON DATABASE ${quoteName(name)} FROM PUBLIC`);
}

/** A database without a comment of ours may be one that we died over; one that is marked as a copy is a copy. */
function expectJustBegun(found: Found, tenant: Tenant): void {
  if (!isJustBegun(found)) throw inUse(tenant, 'is a copy of a template in the making');
}
