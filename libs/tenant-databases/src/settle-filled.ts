import { writeParameters } from './base-url.js';
import { TenantDatabaseError } from './errors.js';
import { databaseState, findIn, foreign, isFinished, type Tenant } from './found.js';
import { readUuid } from './personalise.js';
import type { Fence, Shard } from './shard.js';
import { markDatabase } from './tenant.js';

/**
 * The last that is done to a database that was filled from a backup and opened to its tenant, before an Odoo begins on it:
 * it calls itself by its address and by nobody else's. Names, passwords and identity stay as they are. As the tenant's own
 * role: what is in there was written by a customer, and triggers of his run with whoever writes. Safe to repeat, after any
 * statement. Throws FOREIGN_OBJECT for what is not this footprint's, DATABASE_MISSING before it is opened.
 * @param password of the tenant's role.
 * @param url `https://host`, without a path.
 */
export async function settleFilled(
  shard: Shard,
  tenant: Tenant,
  password: string,
  url: string,
  fence?: Fence,
): Promise<void> {
  await shard.exclusively(
    tenant.name,
    async (session) => {
      const state = databaseState(shard, tenant, await findIn(session, tenant));
      if (state === 'foreign') throw foreign('database', tenant);
      if (!isFinished(state))
        throw new TenantDatabaseError('DATABASE_MISSING', `there is no finished database ${tenant.name}`, false);
      const settled = {
        'web.base.url': url,
        // Else the first log-in of an administrator writes whatever host was used.
        'web.base.url.freeze': 'True',
        'mesh.footprint': tenant.footprintId,
      };
      const as = { role: tenant.name, password };
      await shard.inside(tenant.name, (client) => writeParameters(client, settled), fence, as);
      await markDatabase(session, shard, tenant, 'personal');
    },
    fence,
  );
}

/** The identity that the Odoo of a filled database goes by; read as its own role, as it is written. */
export async function uuidOfFilled(shard: Shard, tenant: Tenant, password: string): Promise<string> {
  return await shard.inside(tenant.name, (client) => readUuid(client, tenant), undefined, {
    role: tenant.name,
    password,
  });
}
