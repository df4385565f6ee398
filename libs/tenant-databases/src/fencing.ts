import { setTimeout as pause } from 'node:timers/promises';
import { TenantDatabaseError } from './errors.js';
import { findIn, foreign, roleState, type Tenant } from './found.js';
import { checkTenantName, quoteName, quoteText } from './identifiers.js';
import { scramVerifier } from './scram.js';
import type { Fence, Session, Shard } from './shard.js';

/** Longer than PostgreSQL gives anybody to log in, where `authentication_timeout` is as docs/running.md has it. */
const goneWithinMs = 15_000;
const lookAgainMs = 20;

/** How many connections the tenant may have at once, from the next one on. Throws TENANT_MISSING, FOREIGN_OBJECT. */
export async function setTenantConnectionLimit(
  shard: Shard,
  tenant: Tenant,
  limit: number,
  fence?: Fence,
): Promise<void> {
  await shard.exclusively(
    tenant.name,
    async (session) => {
      await expectRole(session, shard, tenant);
      await session.query(`ALTER ROLE ${quoteName(tenant.name)} CONNECTION LIMIT ${Math.trunc(limit)}`);
    },
    fence,
  );
}

/**
 * Shuts out whoever has an older password of the tenant. When it resolves, no session of its role is left in any database
 * of the server, and none will come to be without the new password: all that was written until now is all that those
 * will ever have written. Safe to repeat, with the same password too. Throws STILL_CONNECTED (try again) when somebody
 * who knows the new password keeps coming, or somebody takes longer than 15 seconds over a log-in; TENANT_MISSING;
 * FOREIGN_OBJECT.
 */
export async function fenceTenant(shard: Shard, tenant: Tenant, password: string, fence?: Fence): Promise<void> {
  await shard.exclusively(
    tenant.name,
    async (session) => {
      await expectRole(session, shard, tenant);
      await session.query(`ALTER ROLE ${quoteName(tenant.name)} PASSWORD ${quoteText(scramVerifier(password))}`);
      const loggingIn = await whoIsLoggingIn(session);
      const until = Date.now() + goneWithinMs;
      while (true) {
        // In this order: who has come in meanwhile is counted.
        const undecided = await stillLoggingIn(session, loggingIn);
        const connected = await endSessions(session, tenant);
        if (undecided === 0 && connected === 0) return;
        if (Date.now() > until)
          throw new TenantDatabaseError(
            'STILL_CONNECTED',
            `${connected} sessions of ${tenant.name} and ${undecided} log-ins were left after ${goneWithinMs} ms`,
            true,
          );
        await pause(lookAgainMs);
      }
    },
    fence,
  );
}

async function expectRole(session: Session, shard: Shard, tenant: Tenant): Promise<void> {
  checkTenantName(tenant.name);
  const state = roleState(shard, tenant, await findIn(session, tenant));
  if (state === 'foreign') throw foreign('role', tenant);
  if (state === 'absent')
    throw new TenantDatabaseError('TENANT_MISSING', `there is no role ${tenant.name} on this shard`, false);
}

/**
 * The transactions of backends that nobody is known of yet. In one of them may be a log-in for which PostgreSQL has read
 * the old password; which role's it is shows only when it is over. Whoever begins after the password was changed has read
 * the new one.
 */
async function whoIsLoggingIn(session: Session): Promise<string[]> {
  const { rows } = await session.query<{ virtualxid: string }>(
    `SELECT l.virtualxid FROM pg_locks l LEFT JOIN pg_stat_activity a ON a.pid = l.pid
     WHERE l.locktype = 'virtualxid' AND l.mode = 'ExclusiveLock' AND a.usesysid IS NULL AND a.datid IS NULL`,
  );
  return rows.map(({ virtualxid }) => virtualxid);
}

async function stillLoggingIn(session: Session, transactions: string[]): Promise<number> {
  if (transactions.length === 0) return 0;
  const { rows } = await session.query<{ n: number }>(
    `SELECT count(*)::int AS n FROM pg_locks
     WHERE locktype = 'virtualxid' AND mode = 'ExclusiveLock' AND virtualxid = ANY($1)`,
    [transactions],
  );
  return rows[0]!.n;
}

/** @returns how many there were, whether or not they are gone by now. */
async function endSessions(session: Session, { name }: Tenant): Promise<number> {
  const { rows } = await session.query(
    'SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = $1 AND pid <> pg_backend_pid()',
    [name],
  );
  return rows.length;
}
