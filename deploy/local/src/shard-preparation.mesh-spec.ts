import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { Client } from 'pg';
import { missingForBackups, missingPreparation, prepareShard, Shard } from '#tenant-databases/index.js';
import { readConfig } from './config.js';
import { startDatabase } from './database.js';
import { findDatabase } from './packages.js';
import { newTestState, removeTestState } from './test-state.js';

// A server of its own: what everybody may do on it is taken away and given back under nobody.
const config = readConfig();
const state = newTestState();
const meshName = 'prepared';
const password = 'secret';
let administratorUrl: string;
let administrator: Client;
let shard: Shard;

beforeAll(async () => {
  const tools = findDatabase();
  if (!tools) throw new Error('this test needs a PostgreSQL server of the distribution, and finds none');
  administratorUrl = await startDatabase(state, tools, { durable: false, forPods: false });
  administrator = new Client({ connectionString: administratorUrl });
  await administrator.connect();
  const url = new URL(administratorUrl);
  url.username = `${meshName}_shard`;
  url.password = password;
  shard = new Shard('local', url.toString(), meshName);
});
afterAll(async () => {
  await shard?.close();
  await administrator?.end();
  await removeTestState(config, state);
});

const prepare = () => prepareShard({ administratorUrl, meshName, password, backupPassword: password });

test('a server as it is delivered, where only the role was made, is not prepared, and says why', async () => {
  await administrator.query(`CREATE ROLE prepared_shard LOGIN PASSWORD '${password}'`);
  expect(await missingPreparation(shard)).toEqual([
    'everybody may connect to postgres',
    'everybody may connect to template1',
    'everybody may take advisory locks',
    'everybody may leave large objects in postgres',
    'tenants may not connect to postgres, so that no Odoo starts',
    'the mesh’s role may not make databases and roles',
  ]);
});

test('without preparation nobody can make backups', async () => {
  expect(await missingForBackups(shard)).toContain('there is no role that reads tenants for their backups');
});

test('the preparation leaves nothing of that', async () => {
  await prepare();
  expect(await missingPreparation(shard)).toEqual([]);
  expect(await missingForBackups(shard)).toEqual([]);
});

test.each([
  [
    'ALTER ROLE prepared_shard_backup NOBYPASSRLS',
    'row policies of tenants would be run by the role that backs them up',
  ],
  ['ALTER ROLE prepared_shard_backup CREATEROLE', 'the role that backs tenants up may do more than read'],
  ['REVOKE prepared_reader FROM prepared_shard_backup', 'the role that backs tenants up is not one of the readers'],
  ['REVOKE pg_read_all_data FROM prepared_reader', 'the readers may not read'],
])('for backups %s is seen, and mended by preparing again', async (statement, missing) => {
  await administrator.query(statement);
  expect(await missingForBackups(shard)).toEqual([missing]);
  await prepare();
  expect(await missingForBackups(shard)).toEqual([]);
});

test.each([
  ['GRANT CONNECT ON DATABASE postgres TO PUBLIC', 'everybody may connect to postgres'],
  ['GRANT CONNECT ON DATABASE template1 TO PUBLIC', 'everybody may connect to template1'],
  ['GRANT EXECUTE ON FUNCTION pg_advisory_lock(bigint) TO PUBLIC', 'everybody may take advisory locks'],
  ['GRANT EXECUTE ON FUNCTION lo_create(oid) TO PUBLIC', 'everybody may leave large objects in postgres'],
  ['GRANT CREATE ON SCHEMA public TO PUBLIC', 'everybody may make tables in postgres'],
  ['ALTER ROLE prepared_shard SUPERUSER', 'the mesh’s role is a superuser'],
])('%s is seen, and mended by preparing again', async (statement, missing) => {
  await administrator.query(statement);
  expect(await missingPreparation(shard)).toEqual([missing]);
  await prepare();
  expect(await missingPreparation(shard)).toEqual([]);
});
