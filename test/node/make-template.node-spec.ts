import { afterAll, beforeAll, expect, it } from '@jest/globals';
import { hashPassword } from '#odoo/index.js';
import { TestMesh } from '../e2e/test-mesh.js';
import { Browser } from './browser.js';

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

it('is not made again as long as nothing it is made of has changed', async () => {
  steps.length = 0;
  await mesh.installAgain();
  expect(steps).toEqual([]);
});
