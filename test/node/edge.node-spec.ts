import { once } from 'node:events';
import { createServer, type IncomingHttpHeaders, type Server } from 'node:http';
import { type AddressInfo, connect } from 'node:net';
import { setTimeout as pause } from 'node:timers/promises';
import { afterAll, beforeAll, expect, it } from '@jest/globals';
import { Agent } from 'undici';
import type { KubernetesObject } from '#kubernetes/index.js';
import { secureEntryPoint } from '#local/node/router.js';
import { State } from '#local/state.js';
import { type IngressRoute, routesOf } from '#odoo/index.js';
import { waitFor } from '#testing/wait-for.js';
import { stackEnvironment } from '../e2e/config.js';
import { Lifecycle } from '../e2e/lifecycle.js';
import { TestMesh } from '../e2e/test-mesh.js';
import { selfSigned } from './self-signed.js';

const { MESH_ROUTER_URL, MESH_NODE_ADDRESS, MESH_STATE } = stackEnvironment();
const router = new URL(MESH_ROUTER_URL!);

type Ready = Awaited<ReturnType<TestMesh['ready']>>;

let mesh: TestMesh;
/** Of a plan without RPC, and of one with it. */
let business: Ready;
let enterprise: Ready;
/** Tells what it was sent, as the instance behind `echoHost` would get it. */
let echo: Server;
const echoHost = 'edge-echo.localhost';

beforeAll(async () => {
  mesh = await TestMesh.start();
  const requests = ['business', 'enterprise'].map((plan) => mesh.request(`edge-${plan}`, { plan }));
  for (const request of requests) await mesh.publish(request);
  [business, enterprise] = await Promise.all(requests.map(({ data }) => mesh.ready(data.instanceId)));
  echo = createServer((request, response) => {
    request.resume();
    response.end(JSON.stringify(request.headers));
  }).listen(0, MESH_NODE_ADDRESS);
  await once(echo, 'listening');
  await applyEcho();
  await waitFor('the route of the echo', () => answered(echoHost), { timeoutMs: 30_000 });
});
afterAll(async () => {
  echo?.closeAllConnections();
  echo?.close();
  await mesh?.stop();
});

const apply = (object: object) => mesh.cluster.apply(object as KubernetesObject, 'test');

async function applyEcho(): Promise<void> {
  const { namespace } = business;
  const metadata = { name: 'echo', namespace, labels: { 'kubernetes.io/service-name': 'echo' } };
  const ports = [{ name: 'http', port: (echo.address() as AddressInfo).port, protocol: 'TCP' }];
  await apply({ apiVersion: 'v1', kind: 'Service', metadata, spec: { clusterIP: 'None', ports } });
  await apply({
    ...{ apiVersion: 'discovery.k8s.io/v1', kind: 'EndpointSlice', metadata, addressType: 'IPv4', ports },
    endpoints: [{ addresses: [MESH_NODE_ADDRESS], conditions: { ready: true } }],
  });
  await apply(routeOf('echo', echoHost, routesOf(echoHost, 'echo', { scheme: 'http', rpc: true })));
}

function routeOf(name: string, host: string, routes: IngressRoute['spec']['routes']) {
  return {
    apiVersion: 'traefik.io/v1alpha1',
    kind: 'IngressRoute',
    metadata: { name, namespace: business.namespace, annotations: { host } },
    spec: { entryPoints: ['web'], routes },
  };
}

interface Answer {
  readonly status: number;
  readonly headers: Headers;
  readonly body: string;
}

/** Word for word: no client of HTTP in between that would mend what is sent. */
async function say(...lines: readonly string[]): Promise<Answer> {
  const socket = connect({ host: router.hostname, port: Number(router.port) });
  await once(socket, 'connect');
  const closing = lines.some((line) => line.startsWith('Connection:')) ? [] : ['Connection: close'];
  socket.write([...lines, ...closing, '', ''].join('\r\n'));
  const chunks: Buffer[] = [];
  for await (const chunk of socket) chunks.push(chunk as Buffer);
  const [head = '', ...body] = Buffer.concat(chunks).toString().split('\r\n\r\n');
  const [first = '', ...fields] = head.split('\r\n');
  const headers = new Headers(fields.map((field) => [field.split(': ')[0]!, field.split(': ').slice(1).join(': ')]));
  return { status: Number(first.split(' ')[1]), headers, body: body.join('\r\n\r\n') };
}

const get = (path: string, host: string, ...fields: readonly string[]) =>
  say(`GET ${path} HTTP/1.1`, `Host: ${host}`, ...fields);

const databaseManagers = [
  '/web/database',
  '/web/database/',
  '/web/database/manager',
  '/web/database/selector?db=x',
  '/web//database/manager',
  '//web/database/manager',
  '/web/./database/manager',
  '/web/login/../database/manager',
  '/web/%2e/database/manager',
  '/web/login/%2e%2e/database/manager',
  '/web/%64atabase/manager',
  '/%77%65%62/%64%61%74%61%62%61%73%65/manager',
  '/web%2Fdatabase/manager',
  '/web%2fdatabase%2fmanager',
  '/%2Fweb%2Fdatabase%2Fmanager',
  '/web%2F%2Fdatabase/manager',
  '/web/database;a=b/manager',
  '/web/database%00',
  '/web/database%20',
  '/web/database%3Fx',
  '/web/database%23x',
  '/WEB/database/manager',
  '/Web/Database/Manager',
  '/fr/web/database/manager',
  '/fr_FR/web/database/manager',
  '/fr%2Fweb%2Fdatabase%2Fmanager',
];
/** What looks like one of them and is none, if Odoo reads it as its code says. */
const nonsense = [
  '/web%252Fdatabase/manager',
  '/web/%2564atabase/manager',
  '/web/.%2Fdatabase/manager',
  '/web%5Cdatabase/manager',
  '/web\\database\\manager',
  '/web;a=b/database/manager',
  '/web/%c0%afdatabase/manager',
  'http://other.example/web/database/manager',
];
const rpc = [
  '/jsonrpc',
  '/jsonrpc/',
  '//jsonrpc',
  '/./jsonrpc',
  '/%6Asonrpc',
  '/%2Fjsonrpc',
  '/JSONRPC',
  '/fr/jsonrpc',
  '/web/../jsonrpc',
  '/xmlrpc',
  '/xmlrpc/2/object',
  '/xmlrpc/2/common',
  '/xmlrpc%2F2%2Fobject',
  '/fr/xmlrpc/2/object',
];

/** What became of each path that is not closed. */
async function openOnes(host: string, paths: readonly string[]): Promise<readonly (readonly [string, number])[]> {
  const seen: [string, number][] = [];
  for (const path of paths) seen.push([path, (await get(path, host)).status]);
  return seen.filter(([, status]) => status !== 403);
}

it('the database manager is closed in every spelling', async () => {
  for (const { host } of [business, enterprise]) {
    expect(await openOnes(host, databaseManagers)).toEqual([]);
    expect(await openOnes(host, nonsense)).toEqual(nonsense.map((path) => [path, 404]));
  }
  // Not because nothing gets through.
  expect((await get('/web/login', business.host)).status).toBe(200);
});

it('RPC is closed in every spelling, unless the plan opens it', async () => {
  expect(await openOnes(business.host, rpc)).toEqual([]);
  const params = { service: 'common', method: 'login', args: [business.database, 'nobody', 'nothing'] };
  const call = JSON.stringify({ jsonrpc: '2.0', params });
  expect([(await post(business.host, call)).status, (await post(enterprise.host, call)).status]).toEqual([403, 200]);
});

it('where RPC is open, its part that manages databases is closed', async () => {
  const spellings = ['/xmlrpc/db', '/xmlrpc/2/db', '/xmlrpc/2//db', '/xmlrpc%2F2%2Fdb', '/fr/xmlrpc/2/db'];
  for (const path of spellings) expect([path, (await get(path, enterprise.host)).status]).toEqual([path, 403]);
});

const post = (host: string, body: string) =>
  say(
    'POST /jsonrpc HTTP/1.1',
    `Host: ${host}`,
    'Content-Type: application/json',
    `Content-Length: ${Buffer.byteLength(body)}`,
    'Connection: close',
    '',
    body,
  );

const forged = ['Host: evil.example', 'Proto: https', 'Port: 6666', 'For: 6.6.6.6', 'Server: evil', 'Prefix: /evil'];

it.each([
  ['forged', []],
  ['forged and named as the connection’s own', ['Connection: close, X-Forwarded-Host, X-Forwarded-Proto']],
])('what a client says of itself in X-Forwarded-* has no effect: %s', async (_, more) => {
  const { status, body } = await get('/', echoHost, ...forged.map((one) => `X-Forwarded-${one}`), ...more);
  expect(status).toBe(200);
  const seen: IncomingHttpHeaders = JSON.parse(body);
  expect(seen).toMatchObject({ host: echoHost, 'x-forwarded-host': echoHost, 'x-forwarded-proto': 'http' });
  expect(JSON.stringify(seen)).not.toMatch(/evil|6666|6\.6\.6\.6/);
});

it('where TLS ends before the router, an instance hears of https, whatever the client says', async () => {
  const host = 'edge-tls-before.localhost';
  await apply(routeOf('tls-before', host, routesOf(host, 'echo', { scheme: 'https', rpc: false })));
  const { body } = await waitFor('the route', () => answered(host), { timeoutMs: 30_000 });
  expect(JSON.parse(body)).toMatchObject({ 'x-forwarded-proto': 'https', 'x-forwarded-host': host });
  const { body: tried } = await get('/', host, 'X-Forwarded-Proto: http');
  expect(JSON.parse(tried)).toMatchObject({ 'x-forwarded-proto': 'https' });
});

it('with a certificate an instance is served by TLS, and by nothing else', async () => {
  const host = 'edge-tls.localhost';
  const { key, certificate } = await selfSigned(host);
  const { namespace } = business;
  await apply({
    ...{ apiVersion: 'v1', kind: 'Secret', metadata: { name: 'wildcard', namespace }, type: 'kubernetes.io/tls' },
    stringData: { 'tls.crt': certificate, 'tls.key': key },
  });
  const route = routeOf('tls', host, routesOf(host, 'echo', { scheme: 'https', rpc: false }));
  await apply({
    ...route,
    spec: { ...route.spec, entryPoints: ['websecure'], tls: { secretName: 'wildcard' } } satisfies IngressRoute['spec'],
  });
  const port = new State(MESH_STATE).keptPort(secureEntryPoint);
  const agent = new Agent({ connect: { ca: certificate } });
  const seen = await waitFor(
    'an answer by its certificate',
    async () => {
      const headers = { host, 'x-forwarded-proto': 'http' };
      const { statusCode, body } = await agent.request({
        ...{ origin: `https://${router.hostname}:${port}`, path: '/', method: 'GET', headers },
      });
      const text = await body.text();
      return statusCode === 200 ? JSON.parse(text) : undefined;
    },
    { timeoutMs: 30_000 },
  );
  await agent.close();
  expect(seen).toMatchObject({ 'x-forwarded-proto': 'https', 'x-forwarded-host': host });
  expect((await get('/', host)).status).toBe(404);
});

/** Undefined until a route leads there. */
async function answered(host: string): Promise<Answer | undefined> {
  const answer = await get('/', host);
  return answer.status === 200 ? answer : undefined;
}

it('pages can be framed by themselves alone, and no type is guessed', async () => {
  const { headers } = await get('/web/login', business.host, 'Origin: https://other.example');
  expect(Object.fromEntries(headers)).toMatchObject({
    'x-frame-options': 'SAMEORIGIN',
    'x-content-type-options': 'nosniff',
    'x-xss-protection': '1; mode=block',
  });
  expect(headers.get('access-control-allow-origin')).toBeNull();
});

it('other sites may call RPC where it is open, without anybody’s cookies', async () => {
  const preflight = ['Origin: https://other.example', 'Access-Control-Request-Method: POST'];
  const ask = (host: string) => say('OPTIONS /jsonrpc HTTP/1.1', `Host: ${host}`, ...preflight);
  const { status, headers } = await ask(enterprise.host);
  expect([status, headers.get('access-control-allow-origin')]).toEqual([200, '*']);
  expect(headers.get('access-control-allow-credentials')).toBeNull();
  expect((await ask(business.host)).status).toBe(403);
});

it('a host that nobody has is 404', async () => {
  expect((await get('/', 'edge-nobody.localhost')).status).toBe(404);
});

const browser = 'Accept: text/html,application/xhtml+xml,*/*;q=0.8';
const client = 'Accept: application/json';

it('an instance that does not run says why, to browsers and to clients, until it runs again', async () => {
  const { host, instanceId } = business;
  const lifecycle = new Lifecycle(mesh);
  const isTold = async (status: number, title: string) => {
    const page = await waitFor(`the page: ${title}`, async () => {
      const seen = await get('/odoo/contacts?x=1', host, browser);
      return seen.body.includes(`<h1>${title}</h1>`) ? seen : undefined;
    });
    expect(page.status).toBe(status);
    expect(page.headers.get('cache-control')).toBe('no-store');
    const problem = await get('/web/database/manager', host, client);
    expect([problem.status, JSON.parse(problem.body).title]).toEqual([status, title]);
    const head = await say('HEAD / HTTP/1.1', `Host: ${host}`, browser);
    expect([head.status, head.body]).toEqual([status, '']);
  };
  await lifecycle.do('stop', instanceId);
  await isTold(503, 'Odoo is stopped');
  await lifecycle.do('suspend', instanceId, { why: 'unpaid' });
  await isTold(402, 'Odoo is suspended');
  const deadline = new Date(Date.now() + 60_000).toISOString();
  const { token } = await lifecycle.do('quiesce', instanceId, { purpose: 'restore', deadline });
  await isTold(503, 'Under maintenance');
  expect((await get('/metrics', host)).body).not.toContain('mesh_');

  await lifecycle.do('release', instanceId, { token });
  await lifecycle.do('resume', instanceId);
  expect(await lifecycle.do('start', instanceId)).toMatchObject({ fact: 'started' });
  // Started means that it answers.
  expect((await get('/web/login', host)).status).toBe(200);
});

it('an instance that is being made, or whose pod is gone, starts, as the edge says, until it answers', async () => {
  const isStarting = (host: string) =>
    waitFor(
      `${host} to be told as starting`,
      async () => {
        const { status, body } = await get('/web/login', host, browser);
        return status === 503 && body.includes('<h1>Odoo is starting</h1>');
      },
      { timeoutMs: 30_000, intervalMs: 20 },
    );
  const request = mesh.request('edge-new', { plan: 'business' });
  await mesh.publish(request);
  await isStarting('edge-new.localhost');
  const { host, namespace, footprintId } = await mesh.ready(request.data.instanceId);
  expect((await get('/web/login', host)).status).toBe(200);

  const pods = () => mesh.cluster.list('Pod', namespace, `mesh.odoo/footprint=${footprintId}`);
  for (const { metadata } of await pods())
    await mesh.cluster.delete({ kind: 'Pod', name: metadata!.name!, namespace }, { uid: metadata!.uid! });
  await isStarting(host);
  await waitFor('it to be back', async () => (await get('/web/login', host)).status === 200, { timeoutMs: 60_000 });
});

it('a client who asks too much is told so, and others are not: nor is it for long', async () => {
  const host = 'edge-busy.localhost';
  await apply(routeOf('busy', host, routesOf(host, 'echo', { scheme: 'http', rpc: false })));
  await waitFor('the route', () => answered(host), { timeoutMs: 30_000 });
  const flood = Array.from({ length: 10 }, async () => {
    const seen: number[] = [];
    for (let n = 0; n < 100; n += 1) seen.push((await get('/', host)).status);
    return seen;
  });
  const other = get('/', echoHost);
  const statuses = new Set((await Promise.all(flood)).flat());
  expect(statuses).toEqual(new Set([200, 429]));
  expect((await other).status).toBe(200);
  await waitFor('the client to be let in again', () => answered(host));
});

it('a burst of changed routes delays nobody', async () => {
  const changes = 50;
  const name = (n: number) => `edge-burst-${n}`;
  let changing = true;
  const asking = (async () => {
    const seen: { status: number; ms: number }[] = [];
    while (changing) {
      const begun = performance.now();
      const { status } = await get('/web/login', business.host);
      seen.push({ status, ms: performance.now() - begun });
      await pause(25);
    }
    return seen;
  })();
  const begun = performance.now();
  for (let n = 0; n < changes; n += 1) {
    const host = `${name(n)}.localhost`;
    await apply(routeOf(name(n), host, routesOf(host, 'echo', { scheme: 'http', rpc: false })));
  }
  const applied = performance.now() - begun;
  const last = `${name(changes - 1)}.localhost`;
  await waitFor('the last one', () => answered(last), { timeoutMs: 30_000 });
  const known = performance.now() - begun;
  changing = false;
  const seen = await asking;
  const slowest = Math.max(...seen.map(({ ms }) => ms));
  console.log(
    `${changes} routes applied in ${Math.round(applied)} ms, the last one known after ${Math.round(known)} ms; ` +
      `meanwhile ${seen.length} other requests, the slowest ${Math.round(slowest)} ms`,
  );
  expect(seen.filter(({ status }) => status !== 200)).toEqual([]);
  expect(seen.length).toBeGreaterThan(0);
});

it('who is renamed answers at the new host at once, and who comes to the old host is led there and nowhere else', async () => {
  const asked = mesh.request('edge-before');
  await mesh.publish(asked);
  const { instanceId, host: before } = await mesh.ready(asked.data.instanceId, 120_000);
  const lifecycle = new Lifecycle(mesh);
  const domain = 'edge.acme.example';
  const renamed = await lifecycle.do('rename', instanceId, { slug: 'edge-after', customDomains: [domain] });
  expect(renamed).toMatchObject({ fact: 'renamed', previousHost: before });
  const { host } = renamed;
  expect((await get('/web/login', host)).status).toBe(200);
  await waitFor('the domain to lead there', async () => (await get('/web/login', domain)).status === 200);
  expect((await get('/web/database/manager', domain)).status).toBe(403);

  await waitFor('the old one to lead on', async () => (await get('/', before)).status === 308);
  const ledTo = async (path: string) => {
    const { status, headers } = await get(path, `${before}:${router.port}`);
    return status === 308 ? new URL(headers.get('location')!, 'http://nobody.localhost') : status;
  };
  expect(String(await ledTo('/web/login?debug=1'))).toBe(`http://${host}:${router.port}/web/login?debug=1`);
  for (const path of [
    '//evil.example/',
    '/%2f%2fevil.example/',
    '/\\evil.example',
    'http://evil.example/',
    '/@evil.example/',
  ]) {
    const led = await ledTo(path);
    // The router itself refuses some, or takes them for another host's.
    if (typeof led === 'number') expect([path, led >= 400]).toEqual([path, true]);
    else expect([path, led.host]).toEqual([path, `${host}:${router.port}`]);
  }

  expect(await lifecycle.do('rename', instanceId, { customDomains: [] })).toMatchObject({ fact: 'renamed' });
  await waitFor('the domain to lead nowhere', async () => (await get('/web/login', domain)).status === 404);
  expect((await get('/web/login', host)).status).toBe(200);
});
