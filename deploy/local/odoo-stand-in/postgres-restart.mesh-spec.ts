import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { readConfig } from '#local/config.js';
import { startDatabase } from '#local/database.js';
import { findDatabase } from '#local/packages.js';
import { killProcess, startProcess } from '#local/processes.js';
import { newTestState, removeTestState } from '#local/test-state.js';
import { waitFor } from '#testing/wait-for.js';
import { StandIn } from './stand-in.js';
import { type OdooTenant, Tenants } from './tenants.js';

// A server of its own: what all tests share is not restarted under them.
const config = readConfig();
const state = newTestState();
let tenant: OdooTenant;
let odoo: StandIn;

beforeAll(async () => {
  const tools = findDatabase();
  if (!tools) throw new Error('this test restarts a PostgreSQL server, and finds none of the distribution');
  const tenants = await Tenants.on(await startDatabase(state, tools, { durable: false, forPods: false }));
  tenant = await tenants.make();
  // This server commits without waiting for its disk: the kill would take the tenant's rights to its tables with it.
  await tenants.administrate('CHECKPOINT');
  odoo = StandIn.start(tenant.args);
  await odoo.logged(/Registry loaded/);
});
afterAll(async () => {
  await StandIn.killAll();
  await removeTestState(config, state);
});

test('PostgreSQL is killed and comes back: pages recover by themselves, scheduled actions never', async () => {
  await waitFor('three threads', () => odoo.threads === 3);
  expect(await odoo.status('/websocket/health')).toBe(200);

  await killProcess(state.folder, 'database');
  expect(await odoo.status('/web/health')).toBe(200);
  expect(await odoo.status('/web/health?db_server_status=1')).toBe(500);
  expect(await odoo.status('/websocket/health')).toBe(404);
  const page = await odoo.fetch('/web/login');
  expect([page.status, page.headers.get('location')]).toEqual([303, '/web/database/selector']);

  // Again, because it refuses to start as long as nobody has buried the one before.
  await waitFor('the log-in page', async () => {
    await startProcess(state.folder, 'database');
    return (await odoo.status('/web/login')) === 200;
  });
  expect(await odoo.status('/websocket/health')).toBe(200);
  await odoo.logged(/Exception in thread odoo\.service\.cron\.cron0/);
  await waitFor('two threads', () => odoo.threads === 2);
  expect(
    await tenant.sql(`SELECT FROM pg_stat_activity WHERE usename = $1 AND datname = 'postgres'`, [tenant.name]),
  ).toEqual([]);
});
