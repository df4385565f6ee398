import { request } from 'node:http';
import { json } from 'node:stream/consumers';
import { afterAll, beforeAll, expect, it } from '@jest/globals';
import { newId } from '#contracts/index.js';
import { waitFor } from '#testing/wait-for.js';
import { TestMesh } from './test-mesh.js';

let mesh: TestMesh;
/** What became Ready while no edge ran. */
let ready: Awaited<ReturnType<TestMesh['ready']>>;

beforeAll(async () => {
  mesh = await TestMesh.start({ start: ['capacity-planner', 'provisioner', 'api-gateway'] });
  const asked = mesh.request('acme');
  await mesh.publish(asked);
  ready = await mesh.ready(asked.data.instanceId);
});
afterAll(async () => {
  await mesh?.stop();
});

/** As somebody who comes over the router. */
async function told(host: string, port = mesh.services.ports.pages): Promise<{ status: number; code: string }> {
  const { promise, resolve, reject } = Promise.withResolvers<{ status: number; code: string }>();
  const sent = request({ port, headers: { host, accept: 'application/json' }, agent: false }, (response) => {
    json(response).then(
      (body) => resolve({ status: response.statusCode!, code: (body as { code: string }).code }),
      reject,
    );
  });
  sent.once('error', reject).end();
  return await promise;
}

const isTold = (host: string, code: string, port?: number) =>
  waitFor(`${host} to be told as ${code}`, async () => {
    const seen = await told(host, port);
    return seen.code === code ? seen : undefined;
  });

let sequence = Date.now();

async function say(state: string, reason: string, change: Record<string, unknown> = {}): Promise<void> {
  sequence += 1;
  await mesh.publish(mesh.stateChange(ready, state, reason, { sequence, ...change }), {
    key: 'instance.state-changed.v1',
    as: 'lifecycle',
  });
}

it('an edge that was born late learns of what was there before it', async () => {
  await mesh.services.start('edge');
  expect(await isTold(ready.host, 'starting')).toMatchObject({ status: 503 });
  expect(await told('nobody.localhost')).toEqual({ status: 404, code: 'unknown' });
});

it.each([
  ['stopped', 'requested', 'stopped', 503],
  ['suspended', 'unpaid', 'unpaid', 402],
  ['suspended', 'abuse', 'suspended', 503],
  ['maintenance', 'upgrade', 'maintenance', 503],
  ['hibernated', 'idle', 'hibernated', 503],
  ['running', 'requested', 'starting', 503],
] as const)('what lifecycle calls %s (%s) is told as %s', async (state, reason, code, status) => {
  await say(state, reason);
  expect(await isTold(ready.host, code)).toEqual({ status, code });
});

it('a state that comes after a later one is not told', async () => {
  await say('stopped', 'requested');
  await isTold(ready.host, 'stopped');
  const late = mesh.stateChange(ready, 'running', 'requested', { sequence: sequence - 1 });
  await mesh.publish(late, { key: 'instance.state-changed.v1', as: 'lifecycle' });
  // What is said after it is handled after it.
  const marker = { ...ready, instanceId: newId(), host: 'marker.localhost' };
  await mesh.publish(mesh.stateChange(marker, 'stopped', 'requested'), {
    key: 'instance.state-changed.v1',
    as: 'lifecycle',
  });
  await isTold('marker.localhost', 'stopped');
  expect(await told(ready.host)).toMatchObject({ code: 'stopped' });
});

it('nobody but lifecycle can say that an instance does not run', async () => {
  await expect(
    mesh.publish(mesh.stateChange(ready, 'suspended', 'unpaid'), {
      key: 'instance.state-changed.v1',
      as: 'provisioner',
    }),
  ).rejects.toThrow('ACCESS_REFUSED');
});

it('what the planner and the provisioner said before does not outdo lifecycle, however often it is said', async () => {
  const placed = mesh.said('instance.placed.v1', ready.instanceId)[0]!.envelope;
  await mesh.publish(
    { ...placed, id: newId(), sequence: Date.now() + 60_000 },
    {
      key: 'instance.placed.v1',
      as: 'capacity-planner',
    },
  );
  await waitFor('the edge to have taken it', async () => {
    const [row] = await mesh.sql<{ sequence: string }>(
      `SELECT sequence FROM edge.heard WHERE type = 'mesh.instance.placed.v1' AND subject = $1`,
      [ready.instanceId],
    );
    return Number(row?.sequence) > Date.now() + 30_000;
  });
  expect(await told(ready.host)).toMatchObject({ code: 'stopped' });
});

it('several processes of it know the same, and one that is killed takes nothing with it', async () => {
  const second = await mesh.startReplica(['edge']);
  await say('suspended', 'unpaid');
  await isTold(ready.host, 'unpaid', second.ports.pages);
  await isTold(ready.host, 'unpaid');
  await mesh.services.kill('edge');
  await say('maintenance', 'restore');
  await isTold(ready.host, 'maintenance', second.ports.pages);
  await mesh.services.start('edge');
  await isTold(ready.host, 'maintenance');
});

/** Where who comes to a host is led to; undefined: nowhere. */
async function ledTo(host: string, path = '/'): Promise<string | undefined> {
  const { promise, resolve, reject } = Promise.withResolvers<string | undefined>();
  const sent = request({ port: mesh.services.ports.pages, path, headers: { host }, agent: false }, (response) => {
    response.resume();
    resolve(response.statusCode === 308 ? response.headers.location : undefined);
  });
  sent.once('error', reject).end();
  return await promise;
}

it('a new host is told, the old ones lead to it, and what was said before that changes nothing', async () => {
  await say('stopped', 'renamed', { host: 'renamed.localhost' });
  await isTold('renamed.localhost', 'stopped');
  expect(await ledTo(`${ready.host}:8080`, '/web?debug=1')).toBe('//renamed.localhost:8080/web?debug=1');
  await say('stopped', 'renamed', { host: 'renamed-again.localhost' });
  await isTold('renamed-again.localhost', 'stopped');
  const placed = mesh.said('instance.placed.v1', ready.instanceId)[0]!.envelope;
  await mesh.publish(
    { ...placed, id: newId(), sequence: Date.now() + 120_000 },
    { key: 'instance.placed.v1', as: 'capacity-planner' },
  );
  await waitFor('the edge to have taken it', async () => {
    const [row] = await mesh.sql<{ sequence: string }>(
      `SELECT sequence FROM edge.heard WHERE type = 'mesh.instance.placed.v1' AND subject = $1`,
      [ready.instanceId],
    );
    return Number(row?.sequence) > Date.now() + 90_000;
  });
  for (const host of [ready.host, 'renamed.localhost']) expect(await ledTo(host)).toBe('//renamed-again.localhost/');
});

it('a former host is its own when it is called so again, and somebody else’s when they are', async () => {
  await say('stopped', 'renamed', { host: 'renamed.localhost' });
  await isTold('renamed.localhost', 'stopped');
  expect(await ledTo('renamed-again.localhost')).toBe('//renamed.localhost/');
  const other = { ...ready, instanceId: newId(), host: 'renamed-again.localhost' };
  await mesh.publish(mesh.stateChange(other, 'suspended', 'unpaid'), {
    key: 'instance.state-changed.v1',
    as: 'lifecycle',
  });
  await isTold('renamed-again.localhost', 'unpaid');
  await mesh.publish(mesh.stateChange(other, 'stopped', 'requested', { host: 'other.localhost' }), {
    key: 'instance.state-changed.v1',
    as: 'lifecycle',
  });
  await isTold('other.localhost', 'stopped');
  expect(await ledTo('renamed-again.localhost')).toBe('//other.localhost/');
});

it('domains of its customer are told what its host is, and are former hosts of nobody', async () => {
  const [erp, shop] = ['erp.acme.example', 'shop.acme.example'];
  await say('stopped', 'renamed', { host: 'renamed.localhost', customDomains: [erp, shop] });
  for (const domain of [erp, shop]) await isTold(domain, 'stopped');
  await say('suspended', 'unpaid', { host: 'renamed.localhost', customDomains: [shop] });
  await isTold(shop, 'unpaid');
  expect(await told(erp)).toEqual({ status: 404, code: 'unknown' });
});

it('an instance that has ended has no host, and had none', async () => {
  await mesh.purge(ready);
  await isTold('renamed.localhost', 'unknown');
  for (const host of [ready.host, 'shop.acme.example'])
    expect(await told(host)).toEqual({ status: 404, code: 'unknown' });
});

it('health and metrics are not where everybody comes', async () => {
  const response = await fetch(`${mesh.services.url('edge')}/metrics`);
  expect(await response.text()).toMatch(/mesh_edge_answers_total\{notice="unpaid"\} \d/);
  expect(await told('127.0.0.1')).toMatchObject({ status: 404 });
});
