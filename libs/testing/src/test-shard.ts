import { randomBytes } from 'node:crypto';
import { Client } from 'pg';
import { newId } from '#contracts/index.js';
import { backupRole, prepareShard, publishTemplate, Shard, type Tenant } from '#tenant-databases/index.js';
import { stackAddresses } from './config.js';

/** The stack's database server as a shard of a mesh of the test's own. */
export interface TestShard {
  readonly shard: Shard;
  readonly template: string;
  /** Of the mesh's role, for database `postgres`. */
  readonly url: string;
  /** Of the role that reads every tenant, for database `postgres`. */
  readonly readerUrl: string;
  newTenant(): Tenant;
  /** In any database, as the server's administrator. */
  administrate<Row>(sql: string, parameters?: readonly unknown[], database?: string): Promise<Row[]>;
  /** The address of a database for a tenant's role. */
  urlOf(tenant: Tenant, password: string, database?: string): string;
  drop(): Promise<void>;
}

/** @param sql of the template from which its tenants are copied. */
export async function createTestShard(sql: string): Promise<TestShard> {
  const { postgresUrl } = stackAddresses();
  const meshName = `t${randomBytes(4).toString('hex')}`;
  const [password, backupPassword] = [randomBytes(12).toString('hex'), randomBytes(12).toString('hex')];
  await prepareShard({ administratorUrl: postgresUrl, meshName, password, backupPassword });
  const at = (database: string, user?: string, secret?: string) => {
    const url = new URL(postgresUrl);
    url.pathname = `/${database}`;
    if (user) [url.username, url.password] = [user, secret ?? ''];
    return url.toString();
  };
  const administrate = async <Row>(statement: string, parameters: readonly unknown[] = [], database = 'postgres') => {
    const client = new Client({ connectionString: at(database), connectionTimeoutMillis: 5_000 });
    client.on('error', () => {});
    await client.connect();
    try {
      return (await client.query(statement, [...parameters])).rows as Row[];
    } finally {
      await client.end();
    }
  };
  const url = at('postgres', `${meshName}_shard`, password);
  const shard = new Shard('local', url, meshName);
  const template = `${meshName}_tpl`;
  const shape = { database: template, image: 'none', version: '18.0', bundle: 'apps', language: 'en_US' };
  await publishTemplate(shard, shape, sql);
  return {
    shard,
    url,
    template,
    readerUrl: at('postgres', backupRole(meshName), backupPassword),
    administrate,
    newTenant() {
      const footprintId = newId();
      return { name: `${meshName}_o${footprintId.replaceAll('-', '')}`, footprintId, epoch: 1 };
    },
    urlOf: (tenant, secret, database = tenant.name) => at(database, tenant.name, secret),
    async drop() {
      await shard.close();
      const named = (catalogue: string, column: string) =>
        administrate<{ name: string }>(
          `SELECT ${column} AS name FROM ${catalogue} WHERE ${column} LIKE $1 ORDER BY ${column}`,
          [`${meshName}\\_%`],
        );
      for (const { name } of await named('pg_database', 'datname')) {
        await administrate(`ALTER DATABASE "${name}" IS_TEMPLATE false`);
        await administrate(`DROP DATABASE "${name}" WITH (FORCE)`);
      }
      for (const { name } of await named('pg_roles', 'rolname')) {
        await administrate(`DROP OWNED BY "${name}"`);
        await administrate(`DROP ROLE "${name}"`);
      }
    },
  };
}
