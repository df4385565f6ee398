import { execFile } from 'node:child_process';
import { join, resolve } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, expect, it } from '@jest/globals';
import { odooImageOf } from '#local/node/odoo-image.js';
import { State } from '#local/state.js';
import { hashPassword } from '#odoo/index.js';
import { waitFor } from '#testing/wait-for.js';
import { stackEnvironment } from '../e2e/config.js';
import { TestMesh } from '../e2e/test-mesh.js';
import { Browser } from './browser.js';

const run = promisify(execFile);
let mesh: TestMesh;
const password = 'correct horse';
const steps: string[] = [];

beforeAll(async () => {
  const told = (step: string, ms: number) => {
    steps.push(step);
    console.log(`${step} ${ms} ms`);
  };
  mesh = await TestMesh.start({ makeTemplates: { told } });
});
afterAll(async () => {
  await mesh?.stop();
});

const template = () => `${mesh.name}_tpl_18_0_apps_en_us`;
const assetsOf = async (database: string) =>
  await mesh.sql<{ id: number; store_fname: string }>(
    `SELECT id, store_fname FROM ir_attachment WHERE url LIKE '/web/assets/%' ORDER BY url`,
    [],
    database,
  );

it('an Odoo made it, in this order, and left nothing but the frozen database', async () => {
  expect(steps).toEqual(['empty database', 'namespace, volume', 'install', 'warm', 'files', 'image', 'freeze']);
  const [row] = await mesh.sql('SELECT datistemplate, datallowconn, datacl::text FROM pg_database WHERE datname = $1', [
    template(),
  ]);
  expect(row).toMatchObject({ datistemplate: true, datallowconn: false });
  expect(JSON.stringify(row)).not.toContain('{=');
  expect(await mesh.sql('SELECT rolname FROM pg_roles WHERE rolname = $1', [template()])).toEqual([]);
  for (const kind of ['Job', 'Pod', 'PersistentVolumeClaim'])
    expect(await mesh.cluster.list(kind, `${mesh.name}-templates`)).toEqual([]);
});

it('who gets a copy finds its pages made: nothing is built at the first visit', async () => {
  const request = mesh.request('acme', { adminPasswordHash: await hashPassword(password) });
  await mesh.publish(request);
  const ready = await mesh.ready(request.data.instanceId, 120_000);
  expect(ready).toMatchObject({ verified: 'http', template: { database: template() } });
  const before = await assetsOf(ready.database);
  expect(before.length).toBeGreaterThan(0);

  const browser = new Browser(ready.host);
  expect(await browser.logIn(ready.database, 'owner@acme.example', password)).toBeDefined();
  const { body } = await browser.get('/web/login');
  for (const [, path] of body.matchAll(/["'](\/web\/assets\/[^"']+)["']/g))
    expect(await browser.status(path!)).toBe(200);
  expect(await assetsOf(ready.database)).toEqual(before);
});

it('an operator makes another one by a command, which says what took how long', async () => {
  const stack = stackEnvironment();
  const root = resolve(import.meta.dirname, '../..');
  const build = `"${process.execPath}" "${root}/dist/test/node/build-template-image.js" "$1" "$2" "${stack.MESH_STATE}"`;
  const made = await run(
    process.execPath,
    [
      join(root, 'dist/deploy/templates/src/main.js'),
      ...['--image', odooImageOf(new State(stack.MESH_STATE)).name, '--language', 'fr_FR', '--build', build],
    ],
    {
      env: {
        PATH: '/usr/bin:/bin',
        MESH_NAME: mesh.name,
        MESH_KUBECONFIG: stack.MESH_KUBECONFIG,
        MESH_SHARD_URL: mesh.installed.shardUrl,
        MESH_STORAGE_CLASS: stack.MESH_STORAGE_CLASS,
        MESH_CLUSTER_NETWORKS: '10.99.0.0/24,10.244.0.0/24,10.43.0.0/16',
      },
    },
  );
  expect(made.stdout).toMatch(/✓ install +[\d.]+ s\n✓ warm +[\d.]+ s\n/);
  const french = mesh.request('bonjour', { language: 'fr_FR' });
  await mesh.explained(
    waitFor(
      'the planner to hear of it',
      () => mesh.heard.some(({ envelope }) => envelope.data.template?.language === 'fr_FR'),
      { timeoutMs: 60_000 },
    ),
  );
  await mesh.publish(french);
  expect(await mesh.ready(french.data.instanceId, 120_000)).toMatchObject({
    template: { image: expect.stringMatching(/^registry\.local\/by-hand\//), language: 'fr_FR' },
  });
});

it('is not made again as long as nothing it is made of has changed', async () => {
  steps.length = 0;
  await mesh.installAgain();
  expect(steps).toEqual([]);
});
