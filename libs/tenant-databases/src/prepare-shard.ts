import { Client } from 'pg';
import { quoteName } from './identifiers.js';
import { scramVerifier } from './scram.js';

export interface ShardPreparation {
  /** A superuser's address of database `postgres`. */
  readonly administratorUrl: string;
  readonly meshName: string;
  /** For the mesh's role on this shard, `<mesh>_shard`. */
  readonly password: string;
  /** For the role that reads every tenant for its backups, `<mesh>_shard_backup`. Without it there is no such role. */
  readonly backupPassword?: string;
}

/**
 * What needs an administrator on a shard, once; safe to repeat. Afterwards the mesh's role can make and remove tenants
 * and nothing else: it is no superuser and sees no other database's content.
 */
export async function prepareShard({
  administratorUrl,
  meshName,
  password,
  backupPassword,
}: ShardPreparation): Promise<void> {
  const prefix = meshName.replaceAll('-', '_');
  const [mesh, tenant, reader] = [`${prefix}_shard`, `${prefix}_tenant`, `${prefix}_reader`];
  const client = new Client({ connectionString: administratorUrl, application_name: 'mesh shard preparation' });
  await client.connect();
  try {
    // Two preparations at once would change the same rows of the catalogue.
    await client.query(`SELECT pg_advisory_lock(hashtext('mesh shard preparation'))`);
    const verifier = scramVerifier(password);
    await ensureRole(client, mesh, `LOGIN CREATEDB CREATEROLE NOSUPERUSER PASSWORD '${verifier}'`);
    await ensureRole(client, tenant, 'NOLOGIN');
    await ensureRole(client, reader, 'NOLOGIN');
    // Odoo refuses to start without CONNECT on `postgres`; nobody else's databases are anybody's business.
    for (const database of ['postgres', 'template1'])
      await client.query(`REVOKE CONNECT, TEMPORARY ON DATABASE ${database} FROM PUBLIC`);
    await client.query(`GRANT CONNECT ON DATABASE postgres TO ${quoteName(tenant)}, ${quoteName(mesh)}`);
    await closeMeetingPlace(client, mesh);
    await client.query(`GRANT pg_read_all_data TO ${quoteName(reader)}`);
    if (backupPassword !== undefined) await ensureBackupRole(client, backupRole(meshName), reader, backupPassword);
    await client.query(`GRANT ${quoteName(tenant)} TO ${quoteName(mesh)} WITH ADMIN OPTION`);
    // From version 16 on a CREATEROLE role is not simply master of the roles it makes: it has to grant itself that.
    const [{ version }] = (await client.query(`SELECT current_setting('server_version_num')::int AS version`)).rows;
    if (version >= 160_000)
      await client.query(`ALTER ROLE ${quoteName(mesh)} SET createrole_self_grant = 'set, inherit'`);
    // Ends the connections of tenants whose database is dropped.
    await client.query(`GRANT pg_signal_backend TO ${quoteName(mesh)}`);
    // Who holds vacuum back, and since when, is seen of every session.
    await client.query(`GRANT pg_read_all_stats TO ${quoteName(mesh)}`);
  } finally {
    await client.end();
  }
}

/**
 * `postgres` is where all tenants meet. By default any role may leave large objects there, in older servers tables too,
 * and take any advisory lock: also those by which the mesh makes one tenant at a time.
 */
async function closeMeetingPlace(client: Client, mesh: string): Promise<void> {
  await client.query('REVOKE CREATE ON SCHEMA public FROM PUBLIC');
  const { rows } = await client.query<{ name: string; is_lock: boolean }>(
    `SELECT oid::regprocedure::text AS name, proname LIKE '%advisory%' AS is_lock FROM pg_proc
     WHERE pronamespace = 'pg_catalog'::regnamespace
       AND (proname ~ '^pg_(try_)?advisory_' OR proname IN ('lo_creat', 'lo_create', 'lo_from_bytea', 'lo_import'))`,
  );
  const list = (some: typeof rows) => some.map(({ name }) => name).join(', ');
  await client.query(`REVOKE EXECUTE ON FUNCTION ${list(rows)} FROM PUBLIC`);
  const locks = rows.filter(({ is_lock }) => is_lock);
  await client.query(`GRANT EXECUTE ON FUNCTION ${list(locks)} TO ${quoteName(mesh)}`);
}

/** On the shard; the mesh's own database has a role of the service `backup`, which may be on the same server. */
export function backupRole(meshName: string): string {
  return `${meshName.replaceAll('-', '_')}_shard_backup`;
}

/**
 * It reads and makes nothing. BYPASSRLS: a tenant's row policies would otherwise be asked, which is to run what the
 * tenant wrote, or to leave its rows out.
 */
async function ensureBackupRole(client: Client, role: string, reader: string, password: string): Promise<void> {
  await ensureRole(
    client,
    role,
    `LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION BYPASSRLS PASSWORD '${scramVerifier(password)}'`,
  );
  await client.query(`GRANT ${quoteName(reader)} TO ${quoteName(role)}`);
}

async function ensureRole(client: Client, name: string, attributes: string): Promise<void> {
  const { rowCount } = await client.query('SELECT 1 FROM pg_roles WHERE rolname = $1', [name]);
  await client.query(`${rowCount ? 'ALTER' : 'CREATE'} ROLE ${quoteName(name)} ${attributes}`);
}
