import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import { afterAll, beforeAll, expect, it } from '@jest/globals';
import { Client } from 'pg';
import { programs } from '#local/mesh-install.js';
import { hashPassword } from '#odoo/index.js';
import { waitFor } from '#testing/wait-for.js';
import { stackEnvironment } from '../e2e/config.js';
import { Lifecycle } from '../e2e/lifecycle.js';
import { TestMesh } from '../e2e/test-mesh.js';
import { Browser } from './browser.js';
import { LivingInstance } from './living-instance.js';

let mesh: TestMesh;
let lifecycle: Lifecycle;
let adminPasswordHash: string;
const password = 'correct horse';
/** By the names they were asked for. */
const living = new Map<string, LivingInstance>();
const the = (slug: string) => living.get(slug)!;
let withoutImage: ReturnType<typeof upgrade>;

beforeAll(async () => {
  adminPasswordHash = await hashPassword(password);
  mesh = await TestMesh.start({
    start: programs,
    lifecycle: { MESH_START_DEADLINE: '20s', MESH_UPDATE_DEADLINE: '45s' },
  });
  lifecycle = new Lifecycle(mesh);
  const slugs = ['upgraded', 'not-update', 'not-view', 'not-login', 'no-image', 'fenced'];
  const made = await LivingInstance.make(mesh, ...slugs.map((slug) => ({ slug, adminPasswordHash })));
  for (const one of made) living.set(one.ready.host.split('.')[0]!, one);
  // This one waits for its deadline while the others are at work.
  withoutImage = upgrade(the('no-image'), {
    to: the('no-image').ready.template.image.replace(/:[^:]*$/, ':18.0-nowhere'),
  });
  withoutImage.catch(() => {});
});
afterAll(async () => {
  await mesh?.stop();
});

type Living = LivingInstance;

/** The same image: what an upgrade does with it is what it does with another one. */
async function upgrade({ ready }: Living, change: Record<string, unknown> = {}) {
  const operation = await lifecycle.ask('upgrade', ready.instanceId, { to: ready.template.image, ...change });
  return await lifecycle.answerTo(operation, 170_000);
}

/** All of a database, as pg_dump writes it. */
async function dumpOf(database: string): Promise<string> {
  const url = new URL(stackEnvironment().MESH_POSTGRES_URL);
  url.pathname = `/${database}`;
  const { stdout } = await promisify(execFile)('pg_dump', ['--no-owner', url.toString()], {
    maxBuffer: 64 * 1024 ** 2,
  });
  // A newer pg_dump writes a random word into each dump.
  return stdout.replace(/^\\(un)?restrict .*$/gm, '');
}

/** What the database says of it, and what lies there. */
async function hasUploaded(one: Living, database: string, file: string): Promise<boolean> {
  const [row] = await mesh.sql<{ name: string }>(
    `SELECT store_fname AS name FROM ir_attachment WHERE name = 'uploaded'`,
    [],
    database,
  );
  return row?.name === file && (await one.filesIn(database)).includes(file);
}

const databasesOf = async ({ ready }: Living) =>
  (
    await mesh.sql<{ name: string }>(
      `SELECT datname AS name FROM pg_database WHERE datname LIKE $1 || '%' ORDER BY 1`,
      [ready.role],
    )
  ).map(({ name }) => name);

it('an upgraded instance runs on the copy, its people and files with it, and the original is as it was', async () => {
  const one = the('upgraded');
  const [file, files] = [await one.upload(), await one.filesIn(one.ready.database)];
  await lifecycle.do('stop', one.ready.instanceId);
  const before = await dumpOf(one.ready.database);
  const answer = await upgrade(one);
  expect(answer).toMatchObject({ fact: 'upgraded', rehearsed: false });
  expect(await dumpOf(one.ready.database)).toBe(before);
  await lifecycle.do('start', one.ready.instanceId);
  const { database } = lifecycle.stateOf(one.ready.instanceId);
  expect(database).toBe(`${one.ready.database}_1`);
  const browser = new Browser(one.ready.host);
  expect(await browser.logIn(database, 'owner@acme.example', password)).toMatchObject({
    username: 'owner@acme.example',
  });
  expect(await one.filesIn(database)).toEqual(expect.arrayContaining(files));
  expect(await hasUploaded(one, database, file)).toBe(true);
});

it.each([
  ['an error of SQL', 'update', 'UPDATE_FAILED', /table_of_the_fault_update/],
  ['a view that does not fit any more, though it ends with 0', 'view', 'UPDATE_NOT_GOOD', /invalid custom view/],
  ['a log-in page that does not come', 'login', 'UPDATE_FAILED', /500/],
])('%s leaves the original as it was, and it runs', async (_, fault, code, log) => {
  const one = the(`not-${fault}`);
  const { instanceId, database, host, template } = one.ready;
  const [file, files] = [await one.upload(), await one.filesIn(database)];
  // In the database and nowhere else: the running server goes on with what it has read.
  await mesh.sql(`INSERT INTO ir_config_parameter (key, value) VALUES ('odoo_stand_in.faults', $1)`, [fault], database);
  await lifecycle.do('stop', instanceId);
  const before = await dumpOf(database);
  expect(await upgrade(one)).toMatchObject({
    fact: 'upgrade-failed',
    code,
    rolledBack: true,
    log: expect.stringMatching(log),
  });
  expect(await dumpOf(database)).toBe(before);
  expect(await databasesOf(one)).toEqual([database]);
  expect(lifecycle.stateOf(instanceId)).toMatchObject({ state: 'stopped', image: template.image, database });
  await mesh.sql(`DELETE FROM ir_config_parameter WHERE key = 'odoo_stand_in.faults'`, [], database);
  expect(await lifecycle.do('start', instanceId)).toMatchObject({ fact: 'started' });
  expect((await one.page()).status).toBe(200);
  expect(await new Browser(host).logIn(database, 'owner@acme.example', password)).toBeDefined();
  expect(await one.filesIn(database)).toEqual(expect.arrayContaining(files));
  expect(await hasUploaded(one, database, file)).toBe(true);
});

it('what comes up with the new image and does not answer goes back to the old one by itself', async () => {
  const one = the('no-image');
  const { instanceId, database, template, host } = one.ready;
  expect(await withoutImage).toMatchObject({ fact: 'upgrade-failed', code: 'UPDATE_HANGS', rolledBack: true });
  expect(lifecycle.stateOf(instanceId)).toMatchObject({ state: 'running', image: template.image, database });
  expect(await databasesOf(one)).toEqual([database]);
  expect(await new Browser(host).logIn(database, 'owner@acme.example', password)).toBeDefined();
});

it('a pod that lives on behind a kubelet that is gone cannot write after a quiesce', async () => {
  const one = the('fenced');
  const { ready } = one;
  // Its own password and role, as that pod has them, at work all the time.
  let ended = false;
  let writes = 0;
  const client = await one.asTenant(ready.database, async (open) => {
    const { host, port, user, password: secret, database } = open as Client & { password: string };
    return { host, port, user, password: secret, database };
  });
  const pod = (async () => {
    while (!ended) {
      const connection = new Client(client);
      connection.on('error', () => {});
      try {
        await connection.connect();
        while (!ended) {
          await connection.query(`UPDATE res_company SET name = 'written ' || clock_timestamp()`);
          writes += 1;
        }
      } catch {
        // Thrown out, or not let in: it comes again.
      } finally {
        await connection.end().catch(() => {});
      }
    }
  })();
  await waitFor('it to write', () => writes > 10);
  const deadline = new Date(Date.now() + 60_000).toISOString();
  const { token } = await lifecycle.do('quiesce', ready.instanceId, { purpose: 'move', deadline });
  const at = writes;
  const marks = await Promise.all(
    [1, 2, 3].map(async () => await mesh.sql('SELECT name FROM res_company', [], ready.database)),
  );
  expect(marks[0]).toEqual(marks[2]);
  await lifecycle.do('release', ready.instanceId, { token });
  expect(writes).toBe(at);
  ended = true;
  await pod;
  expect((await one.page()).status).toBe(200);
});
