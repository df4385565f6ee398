import { readFileSync } from 'node:fs';
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { newId } from '#contracts/index.js';
import { programs } from '#local/mesh-install.js';
import { waitFor } from '#testing/wait-for.js';
import { TestMesh } from './test-mesh.js';

let mesh: TestMesh;

beforeAll(async () => {
  mesh = await TestMesh.start({ start: programs });
});
afterAll(() => mesh?.stop());

const post = (path: string, body: unknown, more: { key?: string; headers?: Record<string, string> } = {}) =>
  mesh.api(path, { method: 'POST', body, ...more });

const wish = (slug: string, customerId = 'c-1') => ({
  ...{ slug, customerId, plan: 'starter', odooVersion: '18.0' },
  ...{ company: 'Front Door Ltd', adminLogin: 'me@door.example' },
});

async function keyOf(rights: { role: string; customerId?: string; days?: number }) {
  const made = await post('/v1/api-keys', { name: 'test', ...rights });
  expect(made.status).toBe(201);
  return made.body as { id: string; key: string };
}

const known = async (instanceId: string, state: string) =>
  await waitFor(`${instanceId} to be ${state}`, async () => {
    const { body } = await mesh.api(`/v1/instances/${instanceId}`);
    return body.state === state ? body : undefined;
  });

interface Described {
  readonly description: string;
  readonly requestBody?: object;
}
const { paths } = JSON.parse(readFileSync('apps/api-gateway/openapi.json', 'utf8'));
const routes = Object.entries(paths as Record<string, Record<string, Described>>).flatMap(([path, methods]) =>
  Object.entries(methods).map(([method, described]) => {
    const [, role] = /role (viewer|operator|admin)/.exec(described.description)!;
    const platform = described.description.includes('not be bound');
    return { method: method.toUpperCase(), path: path.replaceAll(/\{\w+\}/g, '7'), role: role!, platform, described };
  }),
);
const lesser: Record<string, string[]> = { viewer: [], operator: ['viewer'], admin: ['viewer', 'operator'] };

test.each(routes)('$method $path takes a key, and one with the right', async ({ method, path, role, platform }) => {
  const call = { method, ...(method === 'POST' && { body: {} }) };
  expect(await mesh.api(path, { ...call, key: 'omk_nobody' })).toMatchObject({
    ...{ status: 401, body: { code: 'no-key', fault: 'user' } },
  });
  const without = lesser[role]!.map((less) => ({ role: less }));
  const bound = platform ? ['viewer', 'operator'].map((any) => ({ role: any, customerId: 'c-1' })) : [];
  for (const rights of [...without, ...bound]) {
    const { key } = await keyOf(rights);
    expect(await mesh.api(path, { ...call, key })).toMatchObject({ status: 403, body: { code: 'not-allowed' } });
  }
});

test('every address under /v1 is in the document, and one that is not is told apart from a wrong method', async () => {
  for (const { path } of routes) {
    const wrong = await mesh.api(path, { method: 'PATCH' });
    expect(wrong).toMatchObject({ status: 405, body: { code: 'method-not-allowed' } });
    const methods = routes.filter((one) => one.path === path).map(({ method }) => method);
    for (const method of methods) expect(wrong.headers.get('allow')).toContain(method);
  }
  expect(await mesh.api('/v1/nothing')).toMatchObject({ status: 404, body: { code: 'not-found' } });
  const served = await mesh.api('/v1/openapi.json', { key: '' });
  expect(served.body.paths).toEqual(paths);
  const page = await fetch(`${mesh.services.url('api-gateway')}/docs/`);
  expect(await page.text()).toContain('swagger-ui');
  const start = await fetch(`${mesh.services.url('api-gateway')}/docs/swagger-initializer.js`);
  expect(await start.text()).toContain('/v1/openapi.json');
});

test('a key is shown once, is kept as a hash, and can be rotated and revoked', async () => {
  const made = await keyOf({ role: 'viewer' });
  expect(JSON.stringify((await mesh.api('/v1/api-keys')).body)).not.toContain(made.key);
  expect(JSON.stringify(await mesh.sql('SELECT * FROM api_gateway.api_key'))).not.toContain(made.key);
  expect((await mesh.api('/v1/instances', { key: made.key })).status).toBe(200);

  const rotated = await post(`/v1/api-keys/${made.id}/rotate`, { overlapMinutes: 30 });
  expect(rotated).toMatchObject({ status: 201, body: { role: 'viewer' } });
  for (const key of [made.key, rotated.body.key]) expect((await mesh.api('/v1/instances', { key })).status).toBe(200);
  expect((await post(`/v1/api-keys/${made.id}/rotate`, {})).body.code).toBe('key-ended');
  const at = rotated.body.id;
  const again = await post(`/v1/api-keys/${at}/rotate`, { overlapMinutes: 0 });
  expect((await mesh.api('/v1/instances', { key: rotated.body.key })).status).toBe(401);

  expect((await mesh.api(`/v1/api-keys/${again.body.id}`, { method: 'DELETE' })).status).toBe(204);
  expect((await mesh.api('/v1/instances', { key: again.body.key })).status).toBe(401);
  expect((await mesh.api(`/v1/api-keys/${again.body.id}`)).body).toMatchObject({ endsAt: expect.any(String) });
  expect((await mesh.api(`/v1/api-keys/${newId()}`, { method: 'DELETE' })).status).toBe(404);
});

test('a key of one customer makes and sees this customer’s instances alone', async () => {
  const { key } = await keyOf({ role: 'operator', customerId: 'c-own' });
  const other = await post('/v1/instances', wish('of-others', 'c-other'));
  const own = await post('/v1/instances', wish('of-mine', 'c-own'), { key });
  expect(own.status).toBe(202);
  expect(await post('/v1/instances', wish('not-mine', 'c-other'), { key })).toMatchObject({
    ...{ status: 403, body: { code: 'other-customer' } },
  });
  const list = await mesh.api('/v1/instances', { key });
  expect(list.body.items.map((one: { slug: string }) => one.slug)).toEqual(['of-mine']);
  await known(other.body.instanceId, 'running');
  for (const path of ['', '/timeline', '/explain'])
    expect((await mesh.api(`/v1/instances/${other.body.instanceId}${path}`, { key })).status).toBe(404);
  expect((await mesh.api(`/v1/operations/${other.body.operationId}`, { key })).status).toBe(404);
  expect((await mesh.api(`/v1/operations/${own.body.operationId}`, { key })).status).toBe(200);
  expect((await mesh.api('/v1/instances?customerId=c-other', { key })).status).toBe(403);
});

test('a request that is repeated under its Idempotency-Key is done once, and the password is not told again', async () => {
  const headers = { 'idempotency-key': newId() };
  const [one, two] = await Promise.all([1, 2].map(() => post('/v1/instances', wish('once'), { headers })));
  expect([one!.status, two!.status]).toEqual([202, 202]);
  expect(one!.body.operationId).toBe(two!.body.operationId);
  expect(one!.headers.get('location')).toBe(`/v1/operations/${one!.body.operationId}`);
  expect([one!.body.adminPassword, two!.body.adminPassword].filter(Boolean)).toHaveLength(1);
  const repeat = await post('/v1/instances', wish('once'), { headers });
  expect(repeat.body).toMatchObject({
    ...{
      instanceId: one!.body.instanceId,
      adminPassword: null,
      passwordReset: expect.stringContaining('reset_password'),
    },
  });
  expect(await post('/v1/instances', wish('twice'), { headers })).toMatchObject({
    ...{ status: 422, body: { code: 'idempotency-key-reused' } },
  });
  const { key } = await keyOf({ role: 'operator' });
  // Somebody else's key of the same text is another one.
  expect((await post('/v1/instances', wish('once'), { headers, key })).body.code).toBe('slug-taken');
  await known(one!.body.instanceId, 'running');
  expect(mesh.said('instance.placed.v1', one!.body.instanceId)).toHaveLength(1);

  const keys = { headers: { 'idempotency-key': newId() } };
  const made = await post('/v1/api-keys', { name: 'once', role: 'viewer' }, keys);
  const repeated = await post('/v1/api-keys', { name: 'once', role: 'viewer' }, keys);
  expect(repeated.body).toMatchObject({ id: made.body.id, key: null });
});

test('an id that is known is not asked for again', async () => {
  const instanceId = newId();
  expect((await post('/v1/instances', { ...wish('known-id'), instanceId })).status).toBe(202);
  expect(await post('/v1/instances', { ...wish('known-id-2'), instanceId })).toMatchObject({
    ...{ status: 409, body: { code: 'instance-exists', next: expect.stringContaining('Idempotency-Key') } },
  });
});

test('the list is filtered, sorted both ways, and complete page by page', async () => {
  const slugs = ['list-c', 'list-a', 'list-d', 'list-b', 'list-e'];
  for (const slug of slugs) await post('/v1/instances', wish(slug, 'c-list'));
  const all = async (query: string) => {
    const found: string[] = [];
    for (let after = ''; ; ) {
      const { body } = await mesh.api(`/v1/instances?customerId=c-list&limit=2${query}${after}`);
      found.push(...body.items.map((one: { slug: string }) => one.slug));
      if (!body.next) return found;
      after = `&after=${body.next}`;
    }
  };
  expect(await all('')).toEqual(slugs);
  expect(await all('&sort=-created')).toEqual(slugs.toReversed());
  expect(await all('&sort=slug')).toEqual(slugs.toSorted());
  expect(await all('&sort=-slug')).toEqual(slugs.toSorted().reverse());
  expect(await all('&slug=list-d')).toEqual(['list-d']);
  expect(await all('&state=terminated')).toEqual([]);
  await waitFor('all to have a cell', async () => (await all('&cell=c0')).length === slugs.length);
});

test('what is unchanged is not sent again', async () => {
  const { body } = await post('/v1/instances', wish('unchanged'));
  await known(body.instanceId, 'running');
  const one = await mesh.api(`/v1/instances/${body.instanceId}`);
  // Without the second one fetch says no-cache, which asks for the whole answer.
  const headers = { 'if-none-match': one.headers.get('etag')!, 'cache-control': 'max-age=0' };
  expect(one.headers.get('ratelimit')).toMatch(/^"calls";r=\d+;t=\d+$/);
  expect(await mesh.api(`/v1/instances/${body.instanceId}`, { headers })).toMatchObject({ status: 304 });
  await mesh.sql(`UPDATE api_gateway.instance_view SET step = 'changed' WHERE instance_id = $1`, [body.instanceId]);
  expect(await mesh.api(`/v1/instances/${body.instanceId}`, { headers })).toMatchObject({ status: 200 });
});

test.each([
  ['a body that is no JSON', { method: 'POST', body: '{' }, 400, 'bad-request'],
  ['a body of another type', { method: 'POST', body: 'a=b', headers: { 'content-type': 'text/plain' } }, 415, ''],
  ['a body without an end', { method: 'POST', body: { company: 'x'.repeat(200_000) } }, 413, 'body-too-large'],
  ['a zero byte', { method: 'POST', body: { ...wish('zero'), company: 'a\u0000b' } }, 400, 'invalid'],
] as const)('%s is a problem with a code, a next step and the id of the request', async (_, init, status, code) => {
  const requestId = newId();
  const more = 'headers' in init ? init.headers : {};
  const answer = await mesh.api('/v1/instances', { ...init, headers: { ...more, 'x-request-id': requestId } });
  expect(answer).toMatchObject({ status, type: expect.stringContaining('application/problem+json') });
  expect(answer.body).toMatchObject({
    ...{ status, code: code || 'unsupported-media-type', fault: 'user', next: expect.any(String) },
    ...{ type: expect.stringMatching(/^urn:/), instance: `urn:uuid:${requestId}` },
  });
  expect(answer.headers.get('x-request-id')).toBe(requestId);
});

test('cells and room are shown as the planner tells of them', async () => {
  const [cell] = await waitFor('a cell', async () => {
    const { items } = (await mesh.api('/v1/cells')).body;
    return items.length > 0 ? items : undefined;
  });
  expect((await mesh.api(`/v1/cells/${cell.cell}`)).body).toMatchObject({ cell: 'c0', open: true, shards: ['local'] });
  expect((await mesh.api('/v1/cells/none')).status).toBe(404);
  const { places, reserved } = cell;
  const room = await waitFor('the room', async () => {
    const { body } = await mesh.api('/v1/capacity');
    return body.cells === 1 ? body : undefined;
  });
  expect(room).toMatchObject({ openCells: 1, waiting: { instances: 0, since: null } });
  expect(room.places).toBe(places);
  expect(reserved).toBeLessThanOrEqual(places);
});

test('the read model is made again from what its owners say, and timelines stay as they were', async () => {
  const made = await Promise.all(['again-1', 'again-2', 'again-3'].map((slug) => post('/v1/instances', wish(slug))));
  const ids = made.map(({ body }) => body.instanceId as string);
  for (const id of ids) await known(id, 'running');
  const { updatedAt: _, createdAt: _c, stateSince: _s, ...before } = (await mesh.api(`/v1/instances/${ids[0]}`)).body;
  const lines = await mesh.sql('SELECT count(*) FROM api_gateway.timeline');
  await mesh.sql('DELETE FROM api_gateway.instance_view WHERE instance_id = $1', [ids[0]]);
  await mesh.sql(
    `UPDATE api_gateway.instance_view SET state = 'terminated', rank = 99, slug = 'wrong', url = NULL
    WHERE instance_id = $1`,
    [ids[1]],
  );
  await mesh.sql('DELETE FROM api_gateway.cell');

  expect((await mesh.api('/v1/read-model/rebuild', { method: 'POST' })).status).toBe(202);
  await waitFor('all to have told', async () => {
    const { body } = await mesh.api('/v1/read-model');
    return body.state === 'complete' && body.generation === 1 && body.notToldAgain === 0;
  });
  for (const id of ids) await known(id, 'running');
  expect((await mesh.api(`/v1/instances/${ids[0]}`)).body).toMatchObject(before);
  expect((await mesh.api(`/v1/instances/${ids[1]}`)).body).toMatchObject({ state: 'running', slug: 'again-2' });
  expect((await mesh.api('/v1/cells')).body.items).toHaveLength(1);
  expect(await mesh.sql('SELECT count(*) FROM api_gateway.timeline')).toEqual(lines);
});
