import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { newId } from '#contracts/index.js';
import { waitFor } from '#testing/wait-for.js';
import { TestMesh } from './test-mesh.js';

let mesh: TestMesh;
let ready: Awaited<ReturnType<TestMesh['ready']>>;
/** Every request to lifecycle and to the provisioner that was on the wire. */
const asked: { key: string; publisher: string; envelope: Record<string, unknown> }[] = [];

/** No lifecycle runs here: what it says the test says, as its broker user. */
beforeAll(async () => {
  mesh = await TestMesh.start({ start: ['capacity-planner', 'provisioner', 'api-gateway'] });
  const channel = await mesh.asAdministrator();
  const { queue } = await channel.assertQueue('', { exclusive: true });
  for (const { key } of Object.values(actions)) await channel.bindQueue(queue, 'mesh.events', key);
  await channel.consume(queue, (message) => {
    const { fields, properties, content } = message!;
    asked.push({ key: fields.routingKey, publisher: properties.userId, envelope: JSON.parse(content.toString()) });
    channel.ack(message!);
  });
  const request = mesh.request('acted-on', { customerId: 'c-own' });
  await mesh.publish(request);
  ready = await mesh.ready(request.data.instanceId);
  await shown(({ state }) => state === 'running');
});
afterAll(() => mesh?.stop());

const actions: Record<string, { readonly key: string; readonly fields?: Record<string, unknown>; of?: 'customers' }> = {
  start: { key: 'instance.start-requested.v1', of: 'customers' },
  stop: { key: 'instance.stop-requested.v1', of: 'customers' },
  restart: { key: 'instance.restart-requested.v1', of: 'customers' },
  suspend: { key: 'instance.suspend-requested.v1', fields: { why: 'unpaid' } },
  resume: { key: 'instance.resume-requested.v1' },
  resize: { key: 'instance.resize-requested.v1', fields: { plan: 'enterprise' } },
  upgrade: { key: 'instance.upgrade-requested.v1', fields: { to: 'odoo:18.0-2', modules: ['sale'], rehearse: true } },
  rename: { key: 'instance.rename-requested.v1', fields: { slug: 'other', customDomains: ['erp.acme.example'] } },
  terminate: { key: 'instance.termination-requested.v1', fields: { at: '2027-01-01T00:00:00Z' } },
  'cancel-termination': { key: 'instance.termination-cancel-requested.v1' },
  retry: { key: 'instance.provision-retry-requested.v1' },
};

const act = (
  action: string,
  body: object,
  { instanceId = ready.instanceId, ...more }: { instanceId?: string; key?: string; headers?: object } = {},
) => mesh.api(`/v1/instances/${instanceId}/actions/${action}`, { method: 'POST', body, ...(more as object) });

const view = async (path = '') => (await mesh.api(`/v1/instances/${ready.instanceId}${path}`)).body;
const shown = (is: (seen: { state: string; reason: string | null }) => boolean) =>
  waitFor('the read model', async () => {
    const seen = await view();
    return is(seen) ? seen : undefined;
  });
const operation = async (id: string) => (await mesh.api(`/v1/operations/${id}`)).body;

async function keyOf(rights: object): Promise<{ id: string; key: string }> {
  return (await mesh.api('/v1/api-keys', { method: 'POST', body: { name: 'acting', ...rights } })).body;
}

const requestOf = (operationId: string) =>
  waitFor(`request ${operationId} on the wire`, () => asked.find(({ envelope }) => envelope.id === operationId));

let sequence = Date.now();

/** As lifecycle says it, because of this operation. */
async function say(fact: string, operationId: string, data: object = {}): Promise<void> {
  sequence += 1;
  const { instanceId } = ready;
  const message = {
    ...{ specversion: '1.0', id: newId(), source: 'lifecycle', type: `mesh.${fact}.v1`, subject: instanceId, sequence },
    ...{ time: new Date().toISOString(), correlationid: operationId, causationid: operationId },
    data: { instanceId, operationId, ...data },
  };
  await mesh.publish(message, { key: `${fact}.v1`, as: 'lifecycle' });
}

async function sayState(state: string, reason: string, change: object = {}): Promise<void> {
  sequence += 1;
  const message = mesh.stateChange(ready, state, reason, { sequence, ...change });
  await mesh.publish(message, { key: 'instance.state-changed.v1', as: 'lifecycle' });
}

test.each(Object.entries(actions))(
  '%s is asked for in the name of the key, with its reason and its fields',
  async (action, { key, fields }) => {
    const { id, key: bearer } = await keyOf({ role: 'operator' });
    const answer = await act(action, { reason: 'somebody called', ...fields }, { key: bearer });
    const { instanceId } = ready;
    expect(answer).toMatchObject({ status: 202, body: { operationId: expect.any(String), instanceId } });
    const { operationId } = answer.body;
    expect(answer.headers.get('location')).toBe(`/v1/operations/${operationId}`);
    // At once, before anybody has said something of it.
    expect(await operation(operationId)).toMatchObject({
      operationId,
      instanceId,
      action,
      state: 'pending',
      facts: [],
    });
    const request = await requestOf(operationId);
    expect(request).toMatchObject({ key, publisher: `${mesh.name}-api-gateway` });
    expect(request.envelope).toMatchObject({ time: expect.any(String), data: { instanceId, ...fields } });
    const { reason, requestedBy } = request.envelope.data as Record<string, string>;
    // The provisioner does not ask who.
    expect([reason, requestedBy]).toEqual(['somebody called', action === 'retry' ? undefined : id]);
    expect(JSON.stringify(request)).not.toContain(bearer);
  },
);

test('its operation is what lifecycle says became of it, and the instance is as lifecycle says', async () => {
  const { operationId } = (await act('stop', { reason: 'holidays' })).body;
  await sayState('running', 'ready', { desired: 'stopped', operation: { operationId, operation: 'stop' } });
  await shown((seen) => 'operation' in seen && seen.operation !== null);
  expect(await view()).toMatchObject({ desired: 'stopped', operation: { operationId, operation: 'stop' } });
  expect(await view('/explain')).toMatchObject({ state: 'running', waitsFor: 'its pod to end', fault: 'platform' });
  await sayState('stopped', 'requested');
  await say('instance.stopped', operationId, { durationMs: 4210 });
  await waitFor('its end', async () => (await operation(operationId)).state === 'succeeded');
  expect((await operation(operationId)).facts).toMatchObject([{ summary: 'It stands still after 4210 ms.' }]);
  expect(await shown(({ state }) => state === 'stopped')).toMatchObject({ reason: 'requested', operation: null });
  expect(await view('/explain')).toMatchObject({ waitsFor: null, next: expect.stringContaining('actions/start') });
  // Whoever is answered is not asked again.
  expect(await mesh.sql('SELECT 1 FROM api_gateway.asked WHERE message_id = $1', [operationId])).toEqual([]);
});

test.each([
  ['refused', 'instance.operation-refused', {}, 'NOT_NOW'],
  ['failed', 'instance.operation-failed', { durationMs: 7 }, 'NOT_NOW'],
] as const)('an action that is %s says why', async (state, fact, more, reason) => {
  const { operationId } = (await act('start', { reason: 'back again' })).body;
  const why = { operation: 'start', code: 'NOT_NOW', fault: 'user', message: 'another time' };
  await say(fact, operationId, { ...why, ...more });
  await waitFor('its end', async () => (await operation(operationId)).state === state);
  expect(await operation(operationId)).toMatchObject({ reason, facts: [{ fault: 'user' }] });
});

test('the end of an operation that another one asked for on its way is not the end of that one', async () => {
  const { operationId } = (await act('upgrade', { reason: 'a new image', to: 'odoo:18.0-3' })).body;
  const { footprintId, database, volumeClaim } = ready;
  const deadline = new Date(Date.now() + 60_000).toISOString();
  const standing = { token: 't', purpose: 'backup', deadline, footprintId, database, volumeClaim };
  const nested = newId();
  sequence += 1;
  await say('instance.quiesced', operationId, { operationId: nested, durationMs: 7, ...standing });
  await waitFor('its line', async () => (await operation(operationId)).facts.length === 1);
  expect(await operation(operationId)).toMatchObject({ state: 'pending' });
  expect(await operation(nested)).toMatchObject({ state: 'succeeded', action: null });
});

test('what the provisioner says again does not make a stopped instance run', async () => {
  await sayState('stopped', 'requested');
  await shown(({ state }) => state === 'stopped');
  const again = { ...mesh.said('instance.ready.v1', ready.instanceId)[0]!.envelope, id: newId() };
  await mesh.publish(
    { ...again, sequence: Date.now() + 60_000, data: { ...again.data, timings: { total: 4711 } } },
    { key: 'instance.ready.v1', as: 'provisioner' },
  );
  // Its own fields are filled in.
  const seen = await waitFor('the fact to be taken', async () => {
    const body = await view();
    return body.timings.total === 4711 ? body : undefined;
  });
  expect(seen).toMatchObject({ state: 'stopped', reason: 'requested', desired: 'stopped' });
});

test('an instance of which nobody knows, or that is somebody else’s, is asked for nothing', async () => {
  const { key } = await keyOf({ role: 'operator', customerId: 'c-other' });
  const before = asked.length;
  const unknown = { status: 404, body: { code: 'unknown-instance' } };
  expect(await act('stop', { reason: 'not mine' }, { key })).toMatchObject(unknown);
  expect(await act('stop', { reason: 'nobody’s' }, { instanceId: newId() })).toMatchObject(unknown);
  // What is asked for after them is on the wire after them.
  const { operationId } = (await act('stop', { reason: 'mine' })).body;
  await requestOf(operationId);
  expect(asked).toHaveLength(before + 1);
});

test.each(Object.entries(actions))(
  'whether a customer’s key may %s is as documented',
  async (action, { fields, of }) => {
    const { key } = await keyOf({ role: 'operator', customerId: 'c-own' });
    const { status, body } = await act(action, { reason: 'by its customer', ...fields }, { key });
    expect([status, body.code]).toEqual(of === 'customers' ? [202, undefined] : [403, 'not-allowed']);
  },
);

test('an action that is repeated under its Idempotency-Key is asked for once', async () => {
  const headers = { 'idempotency-key': newId() };
  const [one, two] = await Promise.all([1, 2].map(() => act('restart', { reason: 'again' }, { headers })));
  expect(one).toMatchObject({ status: 202 });
  expect(two!.body).toEqual(one!.body);
  await requestOf(one!.body.operationId);
  expect(asked.filter(({ envelope }) => envelope.id === one!.body.operationId)).toHaveLength(1);
  // Another action, or another reason, is another request.
  for (const [action, reason] of [
    ['stop', 'again'],
    ['restart', 'once more'],
  ] as const)
    expect(await act(action, { reason }, { headers })).toMatchObject({ status: 422 });
});

test.each([
  ['without a reason', 'stop', {}],
  ['with too long a reason', 'stop', { reason: 'x'.repeat(501) }],
  ['with a field of another action', 'stop', { reason: 'x', plan: 'starter' }],
  ['in somebody else’s name', 'stop', { reason: 'x', requestedBy: 'billing' }],
  ['without what it takes', 'resize', { reason: 'x' }],
  ['for a reason that is none', 'suspend', { reason: 'x', why: 'mood' }],
  ['that changes nothing', 'rename', { reason: 'x' }],
  ['to a domain that is none', 'rename', { reason: 'x', customDomains: ['*.acme.example'] }],
  ['to a domain of the mesh’s', 'rename', { reason: 'x', customDomains: ['acted-on.localhost'] }],
  [
    'to too many domains',
    'rename',
    { reason: 'x', customDomains: Array.from({ length: 11 }, (_, at) => `a${at}.example`) },
  ],
])('an action %s does not fit', async (_, action, body) => {
  expect(await act(action, body)).toMatchObject({ status: 400, body: { code: 'invalid' } });
});
