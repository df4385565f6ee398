import { readFileSync } from 'node:fs';
import { Readable } from 'node:stream';
import { buffer } from 'node:stream/consumers';
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { createTestShard, type TestShard } from '#testing/test-shard.js';
import { dumpDatabase } from './dump.js';
import { makeEmptyDatabase } from './empty-database.js';
import { isNeutralised, neutraliseDatabase } from './neutralise.js';
import { findPostgresPrograms, type PostgresPrograms } from './programs.js';
import { openRestored, restoreTenantDatabase } from './restore.js';
import type { Session } from './shard.js';
import { databaseBytes, oldestSnapshotAge } from './shard-load.js';
import { holdSnapshot } from './snapshot.js';
import { cloneTemplate, ensureTenantRole, type Tenant } from './tenant.js';

const shape = readFileSync(new URL('../../../deploy/local/template/odoo-shape.sql', import.meta.url), 'utf8');
/** Rows that would act. */
const acting = `
  INSERT INTO ir_model_data (module, name, model, res_id) VALUES ('base', 'autovacuum_job', 'ir.cron', 1);
  CREATE TABLE fetchmail_server (id serial PRIMARY KEY, active boolean, google_gmail_refresh_token text);
  INSERT INTO fetchmail_server (active, google_gmail_refresh_token) VALUES (true, 'a-token');
  CREATE TABLE payment_provider (id serial PRIMARY KEY, code text, state text);
  INSERT INTO payment_provider (code, state) VALUES ('stripe', 'enabled'), ('demo', 'test'), ('odd', NULL);
  CREATE TABLE delivery_carrier (id serial PRIMARY KEY, active boolean, delivery_type text, prod_environment boolean);
  INSERT INTO delivery_carrier (active, delivery_type, prod_environment) VALUES (true, 'dhl', true), (true, 'fixed', false);
  CREATE TABLE iap_account (id serial PRIMARY KEY, account_token text); INSERT INTO iap_account (account_token) VALUES ('secret');
  CREATE TABLE ir_act_server (id serial PRIMARY KEY, state text, webhook_url text);
  INSERT INTO ir_act_server (state, webhook_url) VALUES ('webhook', 'https://shop.example/hook'), ('code', NULL);
  CREATE TABLE mail_mail (id serial PRIMARY KEY, state text); INSERT INTO mail_mail (state) VALUES ('outgoing'), ('sent');
  ALTER TABLE res_company ADD l10n_es_sii_test_env boolean; UPDATE res_company SET l10n_es_sii_test_env = false;`;

let server: TestShard;
let programs: PostgresPrograms;

beforeAll(async () => {
  server = await createTestShard(shape + acting);
  programs = await findPostgresPrograms();
});
afterAll(() => server?.drop());

const mayGoOn = () => {};
const signal = new AbortController().signal;

async function newTenant(): Promise<Tenant> {
  const tenant = server.newTenant();
  await ensureTenantRole(server.shard, tenant, { password: 'a-password', connectionLimit: 10 });
  return tenant;
}

/** A footprint, filled with a backup of an instance in which `sql` was done. */
async function filled(sql = ''): Promise<Tenant> {
  const { readerUrl, shard } = server;
  const [source, tenant] = [await newTenant(), await newTenant()];
  await cloneTemplate(shard, source, server.template);
  await server.administrate(`SET ROLE "${source.name}"; ${sql}`, [], source.name);
  const bytes = await holdSnapshot(
    readerUrl,
    source.name,
    async ({ snapshot, signal: held }) => {
      const dump = dumpDatabase({ readerUrl, database: source.name, snapshot, signal: held, programs });
      return await buffer(dump.content);
    },
    { longestMs: 60_000 },
  );
  await makeEmptyDatabase(shard, tenant);
  await restoreTenantDatabase(shard, tenant, Readable.from([bytes]), mayGoOn, { programs, signal });
  return tenant;
}

const inside = <Row>(tenant: Tenant, sql: string) => server.administrate<Row>(sql, [], tenant.name);

const asSession = (tenant: Tenant): Session =>
  ({ query: async (sql: string) => ({ rows: await inside(tenant, sql) }) }) as unknown as Session;

test('nothing that would act on the world is left, and what is not neutral names itself', async () => {
  const tenant = await filled();
  expect((await isNeutralised(asSession(tenant))).sort()).toEqual([
    '1 of delivery_carrier: carriers in production',
    '1 of delivery_carrier: carriers outside',
    '1 of fetchmail_server: incoming mail servers, which would take the mails away',
    '1 of fetchmail_server: mail accounts at Google or Microsoft',
    '1 of iap_account: bought services',
    '1 of ir_act_server: webhooks that are called',
    '1 of ir_cron: scheduled actions',
    '1 of ir_mail_server: outgoing mail servers',
    '1 of mail_mail: mails that wait to be sent',
    '1 of res_company: invoices to the Spanish authority',
    '2 of payment_provider: payment providers',
    'Odoo does not know that it is neutralised',
    'no mail server takes the place of the one in the settings of Odoo',
  ]);
  const uuid = await neutraliseDatabase(server.shard, tenant, {}, mayGoOn);
  expect(await isNeutralised(asSession(tenant))).toEqual([]);
  expect(await inside(tenant, 'SELECT cron_name FROM ir_cron WHERE active')).toEqual([
    { cron_name: 'Base: Auto-vacuum internal data' },
  ]);
  expect(await inside(tenant, 'SELECT code, state FROM payment_provider ORDER BY id')).toEqual([
    { code: 'stripe', state: 'disabled' },
    { code: 'demo', state: 'test' },
    { code: 'odd', state: 'disabled' },
  ]);
  const identity = `SELECT key, value FROM ir_config_parameter WHERE key IN ('database.uuid', 'database.secret') ORDER BY key`;
  const [secret, newUuid] = await inside<{ value: string }>(tenant, identity);
  expect(newUuid!.value).toBe(uuid);
  expect(secret!.value).not.toBe('of-the-template');
  // Once more, with an identity that somebody has chosen, as after a death.
  const chosen = { uuid: '0199f3c2-79d0-7aa2-8a15-6f2d3b9c0e11', secret: 'chosen' };
  expect(await neutraliseDatabase(server.shard, tenant, chosen, mayGoOn)).toBe(chosen.uuid);
  expect(await inside(tenant, 'SELECT 1 FROM ir_mail_server WHERE active')).toHaveLength(1);
  await openRestored(server.shard, tenant, mayGoOn);
  await expect(neutraliseDatabase(server.shard, tenant, {}, mayGoOn)).rejects.toMatchObject({ code: 'NOT_FILLED' });
});

test.each([
  ['a trigger that switches a cron on again', 'ir_cron', ''],
  ['one that waits for the end of the transaction', 'ir_cron', 'CONSTRAINT'],
] as const)('%s is found, and nothing is changed', async (_, table, kind) => {
  const when = kind ? 'DEFERRABLE INITIALLY DEFERRED' : '';
  const tenant = await filled(
    `CREATE FUNCTION undo() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
       IF pg_trigger_depth() = 1 THEN UPDATE public.ir_cron SET active = true; END IF; RETURN NULL; END $$;
     CREATE ${kind} TRIGGER undo AFTER UPDATE ON ${table} ${when} FOR EACH ROW EXECUTE FUNCTION undo()`,
  );
  await expect(neutraliseDatabase(server.shard, tenant, {}, mayGoOn)).rejects.toMatchObject({
    code: 'NOT_NEUTRALISED',
    message: expect.stringContaining('1 of ir_cron: scheduled actions'),
    retryable: false,
  });
  expect(await inside(tenant, `SELECT 1 FROM payment_provider WHERE state = 'enabled'`)).toHaveLength(1);
});

test('a table of another shape than the known one counts as one that acts', async () => {
  const tenant = await filled('ALTER TABLE payment_provider RENAME state TO mode');
  await expect(neutraliseDatabase(server.shard, tenant, {}, mayGoOn)).rejects.toThrow(
    'payment_provider has no column state',
  );
});

test('who holds the oldest snapshot of a server is named', async () => {
  const source = await newTenant();
  await cloneTemplate(server.shard, source, server.template);
  await holdSnapshot(
    server.readerUrl,
    source.name,
    async () => {
      const oldest = await oldestSnapshotAge(server.shard);
      expect(oldest!.transactions).toBeGreaterThanOrEqual(0);
      expect(oldest!.seconds).toBeGreaterThan(0);
      expect(oldest!.holder).not.toBe('');
    },
    { longestMs: 60_000 },
  );
  expect(await databaseBytes(server.shard, source.name)).toBeGreaterThan(1_000_000);
  await expect(databaseBytes(server.shard, 'nobody_s')).rejects.toMatchObject({ code: 'DATABASE_MISSING' });
});
