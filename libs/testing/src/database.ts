import { randomBytes } from 'node:crypto';
import { Client } from 'pg';
import { stackAddresses } from './config.js';

export interface TestDatabase {
  readonly name: string;
  /** The login role that owns `schema`. */
  readonly url: string;
  readonly schema: string;
  /** The administrator's, in this database. */
  readonly adminUrl: string;
  /** Ends what is still connected. Safe to repeat. */
  drop(): Promise<void>;
}

/** A database of its own on the stack's server, with one schema and its role, as a service has it. */
export async function createTestDatabase(prefix: string, schema = 'test'): Promise<TestDatabase> {
  const { postgresUrl } = stackAddresses();
  const name = `${prefix}_${randomBytes(4).toString('hex')}`;
  const password = randomBytes(12).toString('hex');
  const at = (database: string, user?: string) => {
    const url = new URL(postgresUrl);
    url.pathname = `/${database}`;
    if (user) {
      url.username = user;
      url.password = password;
    }
    return url.toString();
  };
  await administrate(postgresUrl, [`CREATE DATABASE "${name}"`, `CREATE ROLE "${name}" LOGIN PASSWORD '${password}'`]);
  await administrate(at(name), [`CREATE SCHEMA "${schema}" AUTHORIZATION "${name}"`]);
  return {
    name,
    schema,
    url: at(name, name),
    adminUrl: at(name),
    drop: () =>
      administrate(postgresUrl, [`DROP DATABASE IF EXISTS "${name}" WITH (FORCE)`, `DROP ROLE IF EXISTS "${name}"`]),
  };
}

/** One statement after the other, because databases are not created inside a transaction. */
async function administrate(url: string, statements: string[]): Promise<void> {
  const client = new Client({ connectionString: url, connectionTimeoutMillis: 5_000 });
  client.on('error', () => {});
  await client.connect();
  try {
    for (const statement of statements) await client.query(statement);
  } finally {
    await client.end();
  }
}
