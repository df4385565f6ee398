import { messagingMigrations } from '#messaging/index.js';
import { Database } from '#persistence/index.js';
import { createTestDatabase } from '#testing/database.js';

/** A database with the schema of one service. */
export interface BenchDatabase {
  readonly databaseUrl: string;
  readonly schema: string;
}

export async function setUpDatabase(schema: string): Promise<{ setting: BenchDatabase; tearDown(): Promise<void> }> {
  const { url, drop } = await createTestDatabase('bench', schema);
  await (await openDatabase({ databaseUrl: url, schema })).close(); // the tables
  return { setting: { databaseUrl: url, schema }, tearDown: drop };
}

export async function openDatabase({ databaseUrl, schema }: BenchDatabase, poolSize?: number): Promise<Database> {
  return await Database.open({
    url: databaseUrl,
    schema,
    applicationName: 'bench',
    migrations: messagingMigrations,
    ...(poolSize && { poolSize }),
  });
}

/** With an inbox that is empty at first, and a table for effects. */
export async function openInbox(setting: BenchDatabase): Promise<Database> {
  const database = await openDatabase(setting);
  await database.query('CREATE TABLE IF NOT EXISTS effect (message_id text NOT NULL, what text NOT NULL)');
  await database.query('TRUNCATE inbox, heard, effect');
  return database;
}
