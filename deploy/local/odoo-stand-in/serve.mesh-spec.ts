import { createHash } from 'node:crypto';
import { existsSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, describe, expect, test } from '@jest/globals';
import { stackAddresses } from '#testing/config.js';
import { waitFor } from '#testing/wait-for.js';
import { StandIn } from './stand-in.js';
import { login, type OdooTenant, password, Tenants } from './tenants.js';

let tenants: Tenants;
/** One that runs for all specs which leave it as it is. */
let tenant: OdooTenant;
let odoo: StandIn;
/** Of its owner's session. */
let cookie: string;

const start = (of: OdooTenant, environment: Record<string, string> = {}, ...args: string[]) =>
  StandIn.start([...of.args, ...args], environment);

beforeAll(async () => {
  tenants = await Tenants.on(stackAddresses().postgresUrl);
  tenant = await tenants.make();
  odoo = StandIn.start(tenant.args, { ODOO_PGAPPNAME: 'o-{pid}' });
  cookie = (await odoo.logIn(tenant.name, login, password)).cookie!;
});
afterEach(() => StandIn.killAll({ but: odoo }));
afterAll(async () => {
  await StandIn.killAll();
  await tenants?.close();
});

const sessions = (of: OdooTenant, database: string) =>
  of.sql<{ application_name: string; query: string }>(
    'SELECT application_name, query FROM pg_stat_activity WHERE usename = $1 AND datname = $2',
    [of.name, database],
  );
const setFault = (of: OdooTenant, fault: string) =>
  of.sql(`INSERT INTO ir_config_parameter (key, value) VALUES ('odoo_stand_in.faults', $1)`, [fault]);
const moveSignal = (of: OdooTenant, name: string) => of.sql(`SELECT nextval('base_${name}')`);

test('says what it is: in its version, its log, its header and its pages', async () => {
  const { output } = await StandIn.run(['--version']);
  expect(output).toContain('it is not Odoo');
  expect(odoo.log).toContain('This is not Odoo');
  const page = await odoo.fetch('/web/login');
  expect(page.headers.get('server')).toBe('odoo-stand-in');
  expect(await page.text()).toContain('stand-in for Odoo</title>');
});

test('its log has the columns of Odoo, and no secret', async () => {
  await odoo.logged(/^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d{3} \d+ INFO \S+ \S+: /m);
  const secret = /db_password = (.*)/.exec(readFileSync(tenant.args[1]!, 'utf8'))![1]!;
  expect(odoo.log).not.toContain(secret);
});

test('at rest it is three threads, one connection to its database and one to postgres, under the name it was given', async () => {
  await waitFor('three threads', () => odoo.threads === 3);
  const name = `o-${odoo.pid}`;
  expect(await sessions(tenant, tenant.name)).toMatchObject([{ application_name: name }]);
  // The LISTEN itself is not to be seen, as with Odoo.
  expect(await sessions(tenant, 'postgres')).toMatchObject([{ application_name: name, query: 'COMMIT' }]);
});

test('many visitors at once do not take it to the memory limit of a pod, and leave it with three threads', async () => {
  const program = start(tenant);
  await Promise.all(Array.from({ length: 30 }, () => program.status('/web/health')));
  const [, kilobytes] = /^VmSize:\s+(\d+) kB$/m.exec(readFileSync(`/proc/${program.pid}/status`, 'utf8'))!;
  expect(Number(kilobytes)).toBeLessThan(384 * 1024);
  await waitFor('three threads', () => program.threads === 3);
});

test('a connection that the server has ended is replaced, and the next request is answered', async () => {
  await waitFor('no session in its database', async () => {
    await tenant.sql('SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = $1 AND datname = $1', [
      tenant.name,
    ]);
    return (await sessions(tenant, tenant.name)).length === 0;
  });
  expect(await odoo.status('/web/login')).toBe(200);
});

describe('health', () => {
  test('all is well when the database is open', async () => {
    const health = await odoo.fetch('/web/health');
    expect([health.status, await health.json()]).toEqual([200, { status: 'pass' }]);
    const deep = await odoo.fetch('/web/health?db_server_status=1');
    expect([deep.status, await deep.json()]).toEqual([200, { status: 'pass', db_server_status: true }]);
    expect(await odoo.status('/websocket/health')).toBe(200);
    expect(await odoo.status('/web/login')).toBe(200);
  });

  test('without its database only the websocket says so; the log-in page leads to the list of databases', async () => {
    const lost = start(await tenants.makeWithoutDatabase());
    expect(await lost.status('/websocket/health')).toBe(404);
    expect(await lost.status('/web/health')).toBe(200);
    expect(await lost.status('/web/health?db_server_status=1')).toBe(200);
    const page = await lost.fetch('/web/login');
    expect([page.status, page.headers.get('location')]).toEqual([303, '/web/database/selector']);
    expect(await lost.status('/web/database/selector')).toBe(200);
    expect(await (await lost.fetch('/web/database/manager')).text()).toContain('disabled by the administrator');
  });

  test('while the registry loads it accepts and does not answer', async () => {
    const slow = await tenants.make();
    await setFault(slow, 'hang');
    const loading = start(slow);
    await loading.logged(/running on port/);
    const answers = ['/web/health', '/websocket/health', '/web/login'].map((path) => loading.status(path));
    await waitFor('three requests that wait', () => loading.threads === 6);
    await slow.sql(`DELETE FROM ir_config_parameter WHERE key = 'odoo_stand_in.faults'`);
    expect(await Promise.all(answers)).toEqual([200, 200, 200]);
  });

  test('more at once than db_maxconn: the connection pool is full', async () => {
    const small = start(await tenants.make({ databasePool: 1 }));
    const full = await waitFor('a full pool', async () => {
      const answer = await small.fetch('/web/health');
      return answer.status === 500 && answer.text();
    });
    expect(full).toBe('The Connection Pool Is Full');
  });

  test('with a data_dir that cannot be written every page is an error', async () => {
    const file = join(tenant.dataDir, 'a-file');
    writeFileSync(file, '');
    const broken = start(tenant, {}, '-D', join(file, 'below'));
    for (const path of ['/web/health', '/websocket/health', '/web/login']) expect(await broken.status(path)).toBe(500);
    expect(broken.log).toContain('NotADirectoryError');
  });
});

describe('log-in', () => {
  test('with the password of the hash that the mesh wrote', async () => {
    const { status, result, cookie: set } = await odoo.logIn(tenant.name, login, password);
    expect(status).toBe(200);
    expect(result).toMatchObject({ uid: 2, db: tenant.name, username: login, company_name: 'ACME Ltd' });
    expect(set).toMatch(/^session_id=[\w-]+; HttpOnly; Max-Age=604800; Path=\/$/);
    expect(await tenant.sql('SELECT FROM res_users_log')).not.toHaveLength(0);
    expect(await tenant.sql('SELECT FROM res_device_log')).not.toHaveLength(0);
  });

  test.each([
    ['another password', login, 'wrong'],
    ['the log-in of the template', 'admin', 'admin'],
  ])('is refused with %s, with status 200', async (_, name, secret) => {
    const { status, error } = await odoo.logIn(tenant.name, name, secret);
    expect([status, error.data.name]).toEqual([200, 'odoo.exceptions.AccessDenied']);
  });

  test('is refused for a database that is not of this host', async () => {
    const { error } = await odoo.logIn('postgres', login, password);
    expect(error.data.message).toBe('Database not found.');
  });

  test('is refused where the dbfilter does not let the host in', async () => {
    const elsewhere = start(tenant, {}, '--db-filter', '^%d$');
    const { error } = await elsewhere.logIn(tenant.name, login, password);
    expect(error.data.message).toBe('Database not found.');
  });

  test('by the page: to the client when it is right, the page again when it is not', async () => {
    const page = await odoo.fetch('/web/login');
    const cookie = page.headers.get('set-cookie')!.split(';')[0]!;
    const csrf = /name="csrf_token" value="(\w+)"/.exec(await page.text())![1]!;
    const post = (fields: Record<string, string>) =>
      odoo.fetch('/web/login', { method: 'POST', headers: { cookie }, body: new URLSearchParams(fields) });
    expect(statSync(join(tenant.dataDir, 'sessions')).mode & 0o777).toBe(0o700);
    expect((await post({ login, password })).status).toBe(400);
    expect((await post({ csrf_token: csrf, login, password: 'wrong' })).status).toBe(200);
    const right = await post({ csrf_token: csrf, login, password });
    expect([right.status, right.headers.get('location')]).toEqual([303, '/odoo']);
    const session = right.headers.get('set-cookie')!.split(';')[0]!;
    expect(session).not.toBe(cookie);
    const client = await odoo.fetch('/odoo', { headers: { cookie: session } });
    expect([client.status, await client.text()]).toEqual([200, expect.stringContaining(tenant.name)]);
    const visitor = await odoo.fetch('/odoo');
    expect([visitor.status, visitor.headers.get('location')]).toEqual([303, '/web/login']);
  });

  test('makes a weak hash a strong one', async () => {
    const hash =
      '$pbkdf2-sha512$1000$AAAAAAAAAAAAAAAAAAAAAA$zw9LXfUXx95HsQrLOtn753cx7VApzQx5nFFSowrCayWnlox48rhjcqn11B9RFnkJ36UV2I.5AOP5dAbww/rdbg';
    await tenant.sql(`INSERT INTO res_users (id, login, password, partner_id) VALUES (7, 'weak', $1, 2)`, [hash]);
    expect((await odoo.logIn(tenant.name, 'weak', 'admin')).result.uid).toBe(7);
    const [{ password: stored }] = await tenant.sql('SELECT password FROM res_users WHERE id = 7');
    expect(stored).toMatch(/^\$pbkdf2-sha512\$600000\$/);
    expect((await odoo.logIn(tenant.name, 'weak', 'admin')).result.uid).toBe(7);
  });

  test('of an administrator tells the instance its address, as the proxy says it, unless that is frozen', async () => {
    const moved = await tenants.make();
    const program = start(moved);
    const forwarded = { 'x-forwarded-host': 'new.example', 'x-forwarded-proto': 'https' };
    const baseUrl = async () =>
      (await moved.sql(`SELECT value FROM ir_config_parameter WHERE key = 'web.base.url'`))[0].value;
    const logIn = () =>
      program.fetch('/web/session/authenticate', {
        method: 'POST',
        headers: forwarded,
        body: JSON.stringify({ params: { db: moved.name, login, password } }),
      });
    await logIn();
    expect(await baseUrl()).toBe('https://acme.example');
    await moved.sql(`DELETE FROM ir_config_parameter WHERE key = 'web.base.url.freeze'`);
    await moveSignal(moved, 'cache_signaling_default');
    await logIn();
    expect(await baseUrl()).toBe('https://new.example');
  });

  test('by /jsonrpc reaches for any database, and only PostgreSQL keeps it from a neighbour', async () => {
    const neighbour = await tenants.make();
    const ask = (database: string, method = 'login') =>
      odoo.call('/jsonrpc', { service: 'common', method, args: [database, login, password] });
    expect((await ask(tenant.name)).result).toBe(2);
    expect((await ask(tenant.name, 'about')).error.data.message).toBe('the stand-in has no common.about');
    expect((await ask(neighbour.name)).error.data.message).toContain('permission denied for database');
    await tenants.administrate(`GRANT CONNECT ON DATABASE ${neighbour.name} TO ${tenant.name}`);
    expect((await ask(neighbour.name)).error.data.message).toContain('permission denied for table');
  });
});

describe('caches', () => {
  const someKey = async () =>
    (
      await odoo.call(
        '/web/dataset/call_kw',
        { model: 'ir.config_parameter', method: 'get_param', args: ['some.key'] },
        cookie,
      )
    ).result;

  test('a parameter stays what it was until the sequence moves', async () => {
    await tenant.sql(`INSERT INTO ir_config_parameter (key, value) VALUES ('some.key', 'old')`);
    await moveSignal(tenant, 'cache_signaling_default');
    expect(await someKey()).toBe('old');
    await tenant.sql(`UPDATE ir_config_parameter SET value = 'new' WHERE key = 'some.key'`);
    expect(await someKey()).toBe('old');
    await moveSignal(tenant, 'cache_signaling_default');
    expect(await someKey()).toBe('new');
    await tenant.sql(`UPDATE ir_config_parameter SET value = 'newer' WHERE key = 'some.key'`);
    await moveSignal(tenant, 'registry_signaling');
    expect(await someKey()).toBe('newer');
    expect(odoo.log).toContain("Invalidating caches after database signaling: ['default', 'templates.cached_values']");
  });

  test('the registry is loaded again when its sequence moves', async () => {
    await moveSignal(tenant, 'registry_signaling');
    expect(await odoo.status('/websocket/health')).toBe(200);
    await odoo.logged(/Reloading the model registry after database signaling/);
  });

  test('sessions end with the secret they were made with, when the cache learns of another, and with the password', async () => {
    const other = await tenants.make();
    const program = start(other);
    const { cookie: set } = await program.logIn(other.name, login, password);
    const infoOf = (cookie: string) => program.call('/web/session/get_session_info', {}, cookie);
    const info = () => infoOf(set!);
    await other.sql(`UPDATE ir_config_parameter SET value = 'another' WHERE key = 'database.secret'`);
    expect((await info()).result.uid).toBe(2);
    await moveSignal(other, 'cache_signaling_default');
    expect((await info()).error).toMatchObject({ code: 100, data: { message: 'Session expired' } });

    const again = (await program.logIn(other.name, login, password)).cookie!;
    expect((await infoOf(again)).result.uid).toBe(2);
    await other.sql(`UPDATE res_users SET password = 'another' WHERE id = 2`);
    expect((await infoOf(again)).error.code).toBe(100);
  });
});

describe('files', () => {
  const content = Buffer.from('an invoice');
  const sha1 = createHash('sha1').update(content).digest('hex');

  test('an attachment lies in the filestore of its database, by its SHA-1', async () => {
    const call = (method: string, ...args: unknown[]) =>
      odoo.call('/web/dataset/call_kw', { model: 'ir.attachment', method, args }, cookie);
    const { result: id } = await call('create', { name: 'invoice.pdf', datas: content.toString('base64') });
    const [row] = await tenant.sql('SELECT store_fname, checksum, file_size FROM ir_attachment WHERE id = $1', [id]);
    expect(row).toEqual({ store_fname: `${sha1.slice(0, 2)}/${sha1}`, checksum: sha1, file_size: content.length });
    expect(readFileSync(join(tenant.dataDir, 'filestore', tenant.name, row.store_fname))).toEqual(content);
    expect((await call('read', [id])).result).toEqual([{ id, datas: content.toString('base64') }]);
  });

  test('a bundle of assets is built when its file or its row is missing, and then served from there', async () => {
    const path = '/web/assets/1/web.assets_web.min.js';
    const body = await (await odoo.fetch(path)).text();
    const stored = async () =>
      (await tenant.sql('SELECT id, store_fname FROM ir_attachment WHERE url = $1', [path]))[0];
    const { id, store_fname } = await stored();
    const file = join(tenant.dataDir, 'filestore', tenant.name, store_fname);
    expect(readFileSync(file, 'utf8')).toBe(body);
    await odoo.fetch(path);
    expect((await stored()).id).toBe(id);
    rmSync(file);
    expect(await (await odoo.fetch(path)).text()).toBe(body);
    expect(existsSync(file)).toBe(true);
    await tenant.sql('DELETE FROM ir_attachment WHERE url = $1', [path]);
    expect(await (await odoo.fetch(path)).text()).toBe(body);
    expect((await stored()).store_fname).toBe(store_fname);
  });
});

describe('scheduled actions', () => {
  test('one that is overdue runs some time after the start, once for all that it missed, and keeps its time of day', async () => {
    const lazy = await tenants.make();
    await lazy.sql(`UPDATE ir_cron SET nextcall = now() AT TIME ZONE 'UTC' + interval '1 day'`);
    await lazy.sql(`UPDATE ir_cron SET nextcall = current_date - 3 + time '04:05' WHERE cron_name LIKE 'Base%'`);
    const program = start(lazy, { ODOO_STAND_IN_POLL_SECONDS: '0.5' });
    await program.logged(/Job 'Base: Auto-vacuum internal data' \(\d+\) done/);
    expect(
      await lazy.sql(`SELECT cron_name, lastcall IS NOT NULL AS ran, nextcall::time::text AS time,
        nextcall > now() AT TIME ZONE 'UTC' AND nextcall <= now() AT TIME ZONE 'UTC' + interval '1 day' AS next
        FROM ir_cron WHERE cron_name LIKE 'Base%'`),
    ).toEqual([{ cron_name: 'Base: Auto-vacuum internal data', ran: true, time: '04:05:00', next: true }]);
    expect(program.log.match(/Job /g)).toHaveLength(1);
  });

  test('a NOTIFY on postgres, for whatever database, runs what is due at once', async () => {
    const woken = await tenants.make();
    const program = start(woken);
    await waitFor('its LISTEN', async () => (await sessions(woken, 'postgres'))[0]?.query === 'COMMIT');
    await program.logged(/Registry loaded/);
    await tenants.administrate(`NOTIFY cron_trigger, 'somebody_else'`);
    await program.logged(/Job 'Mail: Email Queue Manager' \(\d+\) done/);
    await woken.sql(`INSERT INTO ir_cron_trigger (cron_id, call_at) SELECT id, now() AT TIME ZONE 'UTC'
      FROM ir_cron WHERE cron_name LIKE 'Mail%'`);
    await tenants.administrate(`NOTIFY cron_trigger, '${woken.name}'`);
    await waitFor('the trigger to be used', async () => (await woken.sql('SELECT FROM ir_cron_trigger')).length === 0);
    await program.logged(/(Job 'Mail[\s\S]*){2}/);
  });
});

describe('its end', () => {
  test('SIGTERM: it takes no more requests, and ends with 0', async () => {
    const program = start(tenant);
    await program.status('/web/health');
    program.signal('SIGTERM');
    expect(await program.end()).toBe(0);
  });

  test('the first SIGTERM takes its time, in which what runs goes on; a second ends it at once', async () => {
    const lasting = await tenants.make();
    const program = start(lasting, { ODOO_STAND_IN_STOP_SECONDS: '600' });
    await program.logged(/Registry loaded/);
    await program.status('/web/health');
    program.signal('SIGTERM');
    await program.logged(/Initiating shutdown/);
    await waitFor('a closed port', () =>
      program.status('/web/health').then(
        () => false,
        () => true,
      ),
    );
    await tenants.administrate(`NOTIFY cron_trigger, '${lasting.name}'`);
    await program.logged(/Job 'Mail: Email Queue Manager' \(\d+\) done/);
    program.signal('SIGTERM');
    expect(await program.end()).toBe(0);
  });

  test('SIGTERM while the registry loads ends it too', async () => {
    const program = start(tenant, { ODOO_STAND_IN_FAULTS: 'hang' });
    await program.logged(/running on port/);
    program.signal('SIGTERM');
    expect(await program.end()).toBe(0);
  });

  test('SIGHUP starts it again in place', async () => {
    const program = start(tenant);
    await program.logged(/Registry loaded/);
    await program.status('/web/health');
    program.signal('SIGHUP');
    await program.logged(/Initiating server reload[\s\S]*Registry loaded/);
    expect(existsSync(`/proc/${program.pid}`)).toBe(true);
  });

  test('too much memory starts it again in place', async () => {
    const large = await tenants.make({ memoryLimitBytes: 700 * 1024 ** 2 });
    await setFault(large, 'memory');
    const program = start(large, { ODOO_STAND_IN_POLL_SECONDS: '0.2' });
    await waitFor('the restart', async () => {
      if (/Server memory limit \(\d+\) reached[\s\S]*Initiating server reload/.test(program.log)) return true;
      await program.status('/web/login');
      return false;
    });
    await program.logged(/Initiating server reload[\s\S]*Registry loaded/);
  });
});

describe('failures that can be switched on', () => {
  test('a name that is none is refused', async () => {
    const { code, log } = await StandIn.run(tenant.args, { ODOO_STAND_IN_FAULTS: 'stpo' });
    expect([code, log]).toEqual([2, expect.stringContaining('ODOO_STAND_IN_FAULTS: there are only cron, hang,')]);
  });

  test('start: it ends with 1 when its registry is loaded', async () => {
    const { code } = await StandIn.run(tenant.args, { ODOO_STAND_IN_FAULTS: 'start' });
    expect(code).toBe(1);
  });

  test('health, login: these answer 500', async () => {
    const faulty = await tenants.make();
    await setFault(faulty, 'health,login');
    const program = start(faulty);
    await program.logged(/Registry loaded/);
    expect(
      await Promise.all(['/web/health', '/web/login', '/websocket/health'].map((path) => program.status(path))),
    ).toEqual([500, 500, 200]);
  });

  test('cron: its thread dies at its first round, and two are left', async () => {
    const program = start(tenant, { ODOO_STAND_IN_FAULTS: 'cron', ODOO_STAND_IN_POLL_SECONDS: '0.1' });
    await program.logged(/Exception in thread odoo\.service\.cron\.cron0/);
    await waitFor('two threads', () => program.threads === 2);
  });

  test('stop: SIGTERM is ignored', async () => {
    const program = start(tenant, { ODOO_STAND_IN_FAULTS: 'stop' });
    await program.logged(/Registry loaded/);
    await program.status('/web/health');
    program.signal('SIGTERM');
    await program.logged(/SIGTERM is ignored/);
    expect(await program.status('/web/health')).toBe(200);
  });
});
