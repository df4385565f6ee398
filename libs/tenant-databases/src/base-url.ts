import { clearCaches } from './caches.js';
import { checkDatabaseName } from './copies.js';
import { TenantDatabaseError } from './errors.js';
import { databaseState, findIn, foreign, isFinished, type Tenant } from './found.js';
import type { Fence, Session, Shard } from './shard.js';

/**
 * The address by which the Odoo on this database calls itself, in its mails for instance; one that runs takes it up with
 * its next request. Safe to repeat, after any statement. Throws FOREIGN_OBJECT for what is not this footprint's,
 * DATABASE_MISSING, BAD_NAME, NOT_ODOO for a database without Odoo's tables.
 * @param url `https://host`, without a path.
 * @param password of the tenant's role, to write as it: where triggers of a customer's may run with whoever writes, and
 *   nothing runs that has taken up all its connections.
 */
export async function setBaseUrl(
  shard: Shard,
  tenant: Tenant,
  database: string,
  url: string,
  fence?: Fence,
  password?: string,
): Promise<void> {
  checkDatabaseName(tenant, database);
  await shard.exclusively(
    tenant.name,
    async (session) => {
      const state = databaseState(shard, tenant, await findIn(session, tenant, database));
      if (state === 'foreign') throw foreign('database', tenant, database);
      if (!isFinished(state))
        throw new TenantDatabaseError('DATABASE_MISSING', `there is no finished database ${database}`, false);
      await shard.inside(
        database,
        async (client) => {
          const { rows } = await client.query(`SELECT to_regclass('public.ir_config_parameter') IS NULL AS lacking`);
          if (rows[0].lacking) throw new TenantDatabaseError('NOT_ODOO', `database ${database} holds no Odoo`, false);
          await writeParameters(client, { 'web.base.url': url });
        },
        fence,
        password === undefined ? undefined : { role: tenant.name, password },
      );
    },
    fence,
  );
}

/** Each is a transaction of its own. */
export async function writeParameters(client: Session, values: Readonly<Record<string, string>>): Promise<void> {
  for (const [key, value] of Object.entries(values))
    await client.query(
      `INSERT INTO ir_config_parameter (key, value, create_uid, create_date, write_uid, write_date)
       VALUES ($1, $2, 1, now() AT TIME ZONE 'UTC', 1, now() AT TIME ZONE 'UTC')
       ON CONFLICT (key) DO UPDATE SET value = excluded.value, write_date = excluded.write_date`,
      [key, value],
    );
  await clearCaches(client);
}
