import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, describe, expect, test } from '@jest/globals';
import { stackAddresses } from '#testing/config.js';
import { waitFor } from '#testing/wait-for.js';
import { StandIn } from './stand-in.js';
import { type OdooTenant, Tenants } from './tenants.js';

let tenants: Tenants;

beforeAll(async () => {
  tenants = await Tenants.on(stackAddresses().postgresUrl);
});
afterEach(() => StandIn.killAll());
afterAll(async () => {
  await tenants?.close();
});

const once = ['--stop-after-init', '--no-http'];
const run = (of: OdooTenant, args: string[], environment?: Record<string, string>) =>
  StandIn.run([...of.args, ...once, ...args], environment);
const states = (of: OdooTenant) =>
  of.sql<{ state: string }>('SELECT DISTINCT state FROM ir_module_module ORDER BY state');

describe('-i', () => {
  test('makes a template: tables, modules with what they need, files, a log-in, languages', async () => {
    const made = await tenants.makeEmpty();
    const { code } = await run(made, ['-i', 'base,crm', '--without-demo=all', '--load-language=de_DE', '-p', '8069']);
    expect(code).toBe(0);
    const [{ names }] = await made.sql(
      `SELECT string_agg(name, ' ' ORDER BY name) AS names FROM ir_module_module WHERE state = 'installed'`,
    );
    expect(names).toBe('base bus contacts crm mail web');
    expect(await made.sql(`SELECT value FROM ir_config_parameter WHERE key = 'web.base.url'`)).toEqual([
      { value: 'http://localhost:8069' },
    ]);
    expect(await made.sql(`SELECT active FROM res_lang WHERE code = 'de_DE'`)).toEqual([{ active: true }]);
    for (const { store_fname } of await made.sql('SELECT store_fname FROM ir_attachment'))
      expect(existsSync(join(made.dataDir, 'filestore', made.name, store_fname))).toBe(true);
    expect(readdirSync(join(made.dataDir, 'filestore', made.name))).not.toHaveLength(0);

    const program = StandIn.start(made.args);
    expect((await program.logIn(made.name, 'admin', 'admin')).result.uid).toBe(2);
  });

  test('of a database that is not there: 255, for the role may not create one', async () => {
    const { code, log } = await run(await tenants.makeWithoutDatabase(), ['-i', 'base']);
    expect([code, log]).toEqual([255, expect.stringContaining('permission denied to create database')]);
  });

  test('a role that may create databases gets one that nobody asked for', async () => {
    const lost = await tenants.makeWithoutDatabase();
    await tenants.administrate(`ALTER ROLE ${lost.name} CREATEDB`);
    const program = StandIn.start(lost.args);
    await waitFor('a database', async () => (await program.status('/websocket/health')) === 200);
    expect(await states(lost)).toEqual([{ state: 'installed' }]);
  });
});

test('-i where no file can be written: 255, and nothing is half installed', async () => {
  const made = await tenants.makeEmpty();
  const { code } = await run(made, ['-i', 'base', '-D', join(made.args[1]!, 'below')]);
  expect(code).toBe(255);
  expect(await states(made)).toEqual([]);
});

describe('-u', () => {
  test('a server on the same database goes on, and loads its registry again', async () => {
    const one = await tenants.make();
    const program = StandIn.start(one.args);
    await program.status('/websocket/health');
    const { code } = await run(one, ['-u', 'all'], { ODOO_STAND_IN_MODULE_VERSION: '18.0.2.0' });
    expect(code).toBe(0);
    expect(await one.sql('SELECT DISTINCT latest_version FROM ir_module_module')).toEqual([
      { latest_version: '18.0.2.0' },
    ]);
    expect(await program.status('/websocket/health')).toBe(200);
    await program.logged(/Reloading the model registry after database signaling/);
  });

  test('a misspelt module and a broken view are warnings, and the exit code is 0', async () => {
    const one = await tenants.make();
    const { code, log } = await run(one, ['-u', 'bsae,mail'], { ODOO_STAND_IN_FAULTS: 'view' });
    expect(code).toBe(0);
    expect(log).toMatch(/ WARNING .*invalid module names, ignored: bsae/);
    expect(log).toMatch(/ WARNING .*invalid custom view\(s\) for model res\.partner/);
  });

  test('an error of SQL: 255, no half state, and the instance starts as before', async () => {
    const one = await tenants.make();
    await one.sql(`INSERT INTO ir_config_parameter (key, value) VALUES ('odoo_stand_in.faults', 'update')`);
    const { code, log } = await run(one, ['-u', 'base']);
    expect([code, log]).toEqual([255, expect.stringContaining('Transient module states were reset')]);
    expect(await states(one)).toEqual([{ state: 'installed' }]);
    const program = StandIn.start(one.args);
    expect(await program.status('/websocket/health')).toBe(200);
  });

  test('two at once on one database: one does it, the other ends with 255', async () => {
    const one = await tenants.make();
    const held = await one.hold('UPDATE ir_module_module SET state = state');
    const both = [run(one, ['-u', 'base']), run(one, ['-u', 'base'])];
    await waitFor('two that wait', async () => {
      const [{ waiting }] = await one.sql(
        `SELECT count(*)::int AS waiting FROM pg_stat_activity WHERE usename = $1 AND wait_event_type = 'Lock'`,
        [one.name],
      );
      return waiting === 2;
    });
    await held.rollBack();
    const ends = (await Promise.all(both)).sort((a, b) => a.code! - b.code!);
    expect(ends.map(({ code }) => code)).toEqual([0, 255]);
    expect(ends[1]!.log).toContain('could not serialize access');
    expect(await states(one)).toEqual([{ state: 'installed' }]);
  });
});

describe('a role that PostgreSQL refuses', () => {
  test('with its password: 1, as a server and as a Job, and the log does not say the password', async () => {
    const one = await tenants.make();
    await tenants.administrate(`ALTER ROLE ${one.name} PASSWORD 'another'`);
    const ends = [await StandIn.run(one.args), await run(one, ['-u', 'base'])];
    const secret = /db_password = (.*)/.exec(readFileSync(one.args[1]!, 'utf8'))![1]!;
    for (const { code, log } of ends) {
      expect([code, log]).toEqual([1, expect.stringContaining('password authentication failed')]);
      expect(log).not.toContain(secret);
    }
  });

  test('at the database postgres, where every Odoo listens: 1', async () => {
    const one = await tenants.make();
    await tenants.administrate(`REVOKE ${one.name.split('_')[0]}_tenant FROM ${one.name}`);
    const { code, log } = await StandIn.run(one.args);
    expect([code, log]).toEqual([1, expect.stringContaining('permission denied for database "postgres"')]);
  });
});

test('an odoo.conf that is not there, or is none, ends it with 2 and without a word of its content', async () => {
  const missing = await StandIn.run(['-c', '/nowhere/odoo.conf']);
  expect([missing.code, missing.log]).toEqual([2, expect.stringContaining("doesn't exist or is not readable")]);
  const none = await StandIn.run(['-c', join(import.meta.dirname, 'modules.mesh-spec.ts')]);
  expect([none.code, none.log]).toEqual([2, expect.stringContaining('no readable section [options]')]);
  expect(none.log).not.toContain('jest');
});

test.each([
  ['an option that only Odoo has', ['--gevent-port', '8072']],
  ['workers', ['--workers', '2']],
  ['two databases', ['-d', 'a,b']],
])('%s: 2', async (_, args) => {
  const { code } = await StandIn.run(['-d', 'a', ...args]);
  expect(code).toBe(2);
});

test('without -c it reads the file that ODOO_RC names, as in the image', async () => {
  const one = await tenants.make();
  const [, conf, ...rest] = one.args;
  const { code, log } = await StandIn.run([...rest, ...once], { ODOO_RC: conf! });
  expect([code, log]).toEqual([0, expect.stringContaining(`INFO ${one.name} `)]);
});

describe('neutralize', () => {
  test('stops crons but the housekeeping, stops mail, and says so at the log-in', async () => {
    const one = await tenants.make();
    const { code } = await StandIn.run(['neutralize', ...one.args]);
    expect(code).toBe(0);
    expect(await one.sql('SELECT cron_name FROM ir_cron WHERE active')).toEqual([
      { cron_name: 'Base: Auto-vacuum internal data' },
    ]);
    expect(await one.sql('SELECT smtp_host FROM ir_mail_server WHERE active')).toEqual([{ smtp_host: 'invalid' }]);
    const program = StandIn.start(one.args);
    expect(await (await program.fetch('/web/login')).text()).toContain('neutralized');
  });

  test('--stdout prints the SQL and does nothing', async () => {
    const one = await tenants.make();
    const { code, output } = await StandIn.run(['neutralize', ...one.args, '--stdout']);
    expect([code, output]).toEqual([0, expect.stringMatching(/^BEGIN;[\s\S]*COMMIT;$/m)]);
    expect(await one.sql('SELECT FROM ir_cron WHERE active')).toHaveLength(2);
  });
});
