import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, it } from '@jest/globals';
import { Agent } from 'undici';
import { secureEntryPoint } from '#local/node/router.js';
import { State } from '#local/state.js';
import { waitFor } from '#testing/wait-for.js';
import { stackEnvironment } from '../e2e/config.js';
import { Lifecycle } from '../e2e/lifecycle.js';
import { TestMesh } from '../e2e/test-mesh.js';
import { pageAt } from './living-instance.js';
import { selfSigned } from './self-signed.js';

const { MESH_STATE } = stackEnvironment();
const port = new State(MESH_STATE).keptPort(secureEntryPoint)!;

let mesh: TestMesh;
let folder: string;
let wildcard: { readonly key: string; readonly certificate: string };
let agent: Agent;

beforeAll(async () => {
  folder = mkdtempSync('/tmp/mesh-certificate-');
  wildcard = await selfSigned('*.customers.localhost');
  const authority = join(folder, 'authority.pem');
  writeFileSync(authority, wildcard.certificate);
  agent = new Agent({ connect: { ca: wildcard.certificate } });
  mesh = await TestMesh.start({
    domain: 'customers.localhost',
    entry: {
      ...{ MESH_TLS_SECRET: 'wildcard', MESH_URL_SCHEME: 'https', MESH_URL_PORT: String(port) },
      ...{ MESH_ROUTER_URL: `https://127.0.0.1:${port}`, MESH_ROUTER_CA: authority },
    },
  });
});
afterAll(async () => {
  await mesh?.stop();
  await agent?.close();
  rmSync(folder, { recursive: true });
});

/** As a browser that knows the authority gets it. */
async function securePage(host: string): Promise<{ status: number; text: string }> {
  const { statusCode, body } = await agent.request({
    ...{ origin: `https://127.0.0.1:${port}`, path: '/web/login', method: 'GET', headers: { host } },
  });
  return { status: statusCode, text: await body.text() };
}

it('where every cell has a certificate, instances are Ready, stopped and started by TLS, and served by nothing else', async () => {
  const request = mesh.request('by-certificate');
  const { instanceId } = request.data;
  await mesh.publish(request);
  const place = () => mesh.said('instance.placed.v1', instanceId)[0];
  const placed = await mesh.explained(waitFor('its place', place, { timeoutMs: 60_000 }));
  const { namespace } = placed.envelope.data;
  // Whoever keeps the certificate puts it into each cell; the namespace may be made just now.
  await waitFor('the namespace', async () => await mesh.cluster.get({ kind: 'Namespace', name: namespace }));
  await mesh.cluster.apply(
    {
      ...{ apiVersion: 'v1', kind: 'Secret', metadata: { name: 'wildcard', namespace }, type: 'kubernetes.io/tls' },
      data: {
        'tls.crt': Buffer.from(wildcard.certificate).toString('base64'),
        'tls.key': Buffer.from(wildcard.key).toString('base64'),
      },
    } as Parameters<typeof mesh.cluster.apply>[0],
    'test',
  );
  const ready = await mesh.ready(instanceId, 120_000);
  expect(ready).toMatchObject({ verified: 'http', url: `https://${ready.host}:${port}` });
  expect((await securePage(ready.host)).status).toBe(200);
  expect((await pageAt(ready.host)).status).toBe(404);

  const lifecycle = new Lifecycle(mesh);
  await lifecycle.state(instanceId, 'running');
  expect(await lifecycle.do('stop', instanceId)).toMatchObject({ fact: 'stopped' });
  await waitFor('the page of the edge', async () => (await securePage(ready.host)).status === 503);
  expect(await lifecycle.do('start', instanceId)).toMatchObject({ fact: 'started' });
  await waitFor('the log-in page', async () => (await securePage(ready.host)).status === 200);
});
