import { afterAll, beforeAll, expect, it } from '@jest/globals';
import type { V1Pod } from '@kubernetes/client-node';
import type { KubernetesObject } from '#kubernetes/index.js';
import { hashPassword } from '#odoo/index.js';
import { waitFor } from '#testing/wait-for.js';
import { TestMesh } from '../e2e/test-mesh.js';
import { Browser } from './browser.js';

let mesh: TestMesh;
const password = 'correct horse';
let adminPasswordHash: string;

beforeAll(async () => {
  adminPasswordHash = await hashPassword(password);
  mesh = await TestMesh.start({ spares: 'business/18.0/apps/en_US=2' });
});
afterAll(async () => {
  await mesh?.stop();
});

const readySpares = async () =>
  await mesh.sql<{ footprint_id: string }>(
    `SELECT footprint_id FROM capacity_planner.spare WHERE state = 'ready' ORDER BY asked_at`,
  );

async function make(slug: string) {
  const request = mesh.request(slug, { adminPasswordHash });
  await mesh.publish(request);
  return await mesh.ready(request.data.instanceId, 120_000);
}

it('a new instance is Ready when its log-in page is answered at its host, and the password that was answered logs in', async () => {
  const { plan, odooVersion, company, customerId, adminLogin } = mesh.request('cold').data;
  const body = { slug: 'cold', plan, odooVersion, company, customerId, adminLogin };
  const { body: answer } = await mesh.api('/v1/instances', { method: 'POST', body });
  const ready = await mesh.ready(answer.instanceId, 120_000);
  expect(ready).toMatchObject({ claim: 'new', verified: 'http', url: Browser.urlOf(ready.host) });
  const browser = new Browser(ready.host);
  expect(await browser.status('/web/login')).toBe(200);
  expect(await browser.logIn(ready.database, adminLogin, answer.adminPassword)).toMatchObject({ username: adminLogin });
  expect(await browser.logIn(ready.database, 'owner@acme.example', 'wrong')).toBeUndefined();
});

it('a customer gets a spare that runs already: its own names, secrets and password, and nothing restarts', async () => {
  const spares = await mesh.explained(
    waitFor('two spares', async () => ((await readySpares()).length >= 2 ? await readySpares() : undefined), {
      timeoutMs: 90_000,
    }),
  );
  const podsOf = async (footprintId: string) => {
    const pods = await mesh.cluster.list('Pod', `${mesh.name}-c0`, `mesh.odoo/footprint=${footprintId}`);
    return pods.map((pod) => {
      const { metadata, status } = pod as V1Pod & KubernetesObject;
      return { uid: metadata!.uid, restarts: status!.containerStatuses!.map(({ restartCount }) => restartCount) };
    });
  };
  const before = await podsOf(spares[0]!.footprint_id);
  const template = await mesh.sql<{ value: string }>(
    `SELECT value FROM ir_config_parameter WHERE key = 'database.uuid'`,
    [],
    `${mesh.name}_o${spares[0]!.footprint_id.replaceAll('-', '')}`,
  );

  const ready = await make('warm');
  expect(ready).toMatchObject({ claim: 'spare', verified: 'http', footprintId: spares[0]!.footprint_id });
  expect(await podsOf(ready.footprintId)).toEqual(before);
  expect(ready.uuid).not.toBe(template[0]!.value);

  const browser = new Browser(ready.host);
  expect(await browser.logIn(ready.database, 'admin', 'admin')).toBeUndefined();
  expect(await browser.logIn(ready.database, 'owner@acme.example', password)).toMatchObject({
    'web.base.url': Browser.urlOf(ready.host),
  });
  // Nothing that was read before the claim is left in the cache: a session made now outlives its clearing.
  await mesh.sql(`SELECT nextval('base_cache_signaling_default')`, [], ready.database);
  expect(await browser.isLoggedIn()).toBe(true);
});

it('Ready is not said of a pod whose database is gone: it is made again, and then it is', async () => {
  // Of a plan without spares, which would be Ready at once.
  const request = mesh.request('lost', { adminPasswordHash, plan: 'starter' });
  await mesh.publish(request);
  const { instanceId } = request.data;
  const steps = () => mesh.said('instance.provisioning-progressed.v1', instanceId).map(({ envelope }) => envelope.data);
  await waitFor('its pod to be asked for', () =>
    steps().some(({ step, durationMs }) => step === 'workload' && durationMs),
  );
  const { footprintId } = mesh.said('instance.placed.v1', instanceId)[0]!.envelope.data;
  const database = `${mesh.name}_o${footprintId.replaceAll('-', '')}`;
  await mesh.sql(`DROP DATABASE ${database} WITH (FORCE)`);
  expect(mesh.said('instance.ready.v1', instanceId)).toEqual([]);
  const ready = await mesh.ready(instanceId, 120_000);
  expect(ready).toMatchObject({ verified: 'http', database });
  // What was done once was done again, for the new one.
  expect(steps().filter(({ step, durationMs }) => step === 'tenant' && durationMs).length).toBeGreaterThan(1);
  expect(await new Browser(ready.host).logIn(database, 'owner@acme.example', password)).toBeDefined();
});
