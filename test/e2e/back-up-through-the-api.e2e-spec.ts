import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { newId } from '#contracts/index.js';
import { waitFor } from '#testing/wait-for.js';
import { TestMesh } from './test-mesh.js';

let mesh: TestMesh;
let own: Awaited<ReturnType<TestMesh['ready']>>;
let other: Awaited<ReturnType<TestMesh['ready']>>;
/** Every request to the backup service that was on the wire. */
const asked: { key: string; publisher: string; envelope: { id: string; data: Record<string, unknown> } }[] = [];

/** No backup service runs here, and no lifecycle: what they say the test says, as their broker users. */
beforeAll(async () => {
  mesh = await TestMesh.start({ start: ['capacity-planner', 'provisioner', 'api-gateway'] });
  const channel = await mesh.asAdministrator();
  const { queue } = await channel.assertQueue('', { exclusive: true });
  for (const what of [
    'backup.requested',
    'backup.hold-requested',
    'backup.hold-release-requested',
    'restore.requested',
  ])
    await channel.bindQueue(queue, 'mesh.events', `${what}.v1`);
  await channel.consume(queue, (message) => {
    const { fields, properties, content } = message!;
    asked.push({ key: fields.routingKey, publisher: properties.userId, envelope: JSON.parse(content.toString()) });
    channel.ack(message!);
  });
  const make = async (slug: string, customerId: string) => {
    const request = mesh.request(slug, { customerId });
    await mesh.publish(request);
    const ready = await mesh.ready(request.data.instanceId);
    await waitFor(
      `${slug} to be shown`,
      async () => (await get(`/v1/instances/${ready.instanceId}`)).state === 'running',
    );
    return ready;
  };
  own = await make('backed-up', 'c-own');
  other = await make('of-others', 'c-other');
});
afterAll(() => mesh?.stop());

const get = async (path: string) => (await mesh.api(path)).body;
const post = (path: string, body: object, more: { key?: string; headers?: Record<string, string> } = {}) =>
  mesh.api(path, { method: 'POST', body, ...more });
const of = ({ instanceId } = own) => `/v1/instances/${instanceId}`;
const operation = (id: string) => get(`/v1/operations/${id}`);
const ended = (id: string, state: string) =>
  mesh.explained(waitFor(`operation ${id} to be ${state}`, async () => (await operation(id)).state === state));

async function keyOf(rights: object): Promise<{ id: string; key: string }> {
  return (await post('/v1/api-keys', { name: 'backing up', ...rights })).body;
}

const requestOf = (operationId: string) =>
  waitFor(`request ${operationId} on the wire`, () => asked.find(({ envelope }) => envelope.id === operationId));

let sequence = Date.now();
const now = () => new Date().toISOString();

/** As the backup service says it. `because`: the request that it answers. */
function fact(key: string, data: Record<string, unknown>, because?: string) {
  sequence += 1;
  return {
    ...{ specversion: '1.0', id: newId(), source: 'backup', type: `mesh.${key}.v1`, time: now(), sequence },
    ...{ subject: data.requestId ?? data.restoreId ?? data.backupId },
    ...(because && { correlationid: because, causationid: because }),
    data: { instanceId: own.instanceId, ...data },
  };
}
async function say(key: string, data: Record<string, unknown>, because?: string): Promise<void> {
  await mesh.publish(fact(key, data, because), { key: `${key}.v1`, as: 'backup' });
}

const backup = (backupId: string, why = 'manual') => ({ backupId, footprintId: own.footprintId, why });
const made = () => ({
  ...{ takenAt: now(), template: own.template, databaseBytes: 5_120_000, filesBytes: 10_240_000, files: 389 },
  checksum: 'ab'.repeat(32),
});
const proof = () => ({ depth: 'full', offSite: true, rtoMs: 4_711, rows: 81_234, files: 389, verifiedAt: now() });
const shown = (path: string, state: string) =>
  mesh.explained(
    waitFor(`${path} to be ${state}`, async () => {
      const body = await get(path);
      return body.state === state ? body : undefined;
    }),
  );

/** A backup that is there, and known to be. */
async function completed(change: object = {}): Promise<string> {
  const backupId = newId();
  await say('backup.completed', { ...backup(backupId, 'scheduled'), ...made(), ...change });
  await shown(`/v1/backups/${backupId}`, 'completed');
  return backupId;
}

test('a backup is asked for in the name of a key, and shown from its request to its proof', async () => {
  const { id, key } = await keyOf({ role: 'operator', customerId: 'c-own' });
  const answer = await post(`${of()}/backups`, { reason: 'before the audit' }, { key });
  expect(answer).toMatchObject({ status: 202, body: { instanceId: own.instanceId } });
  const { backupId, operationId } = answer.body;
  expect(answer.headers.get('location')).toBe(`/v1/operations/${operationId}`);
  expect(await operation(operationId)).toMatchObject({ action: 'back-up', state: 'pending', facts: [] });
  expect(await get(`/v1/backups/${backupId}`)).toMatchObject({
    ...{ state: 'requested', requestedBy: id, reason: 'before the audit', operationId, takenAt: null },
  });
  expect(await requestOf(operationId)).toMatchObject({
    ...{ key: 'backup.requested.v1', publisher: `${mesh.name}-api-gateway` },
    envelope: { data: { instanceId: own.instanceId, backupId, why: 'manual' } },
  });

  await say('backup.completed', { ...backup(backupId), ...made() }, operationId);
  await ended(operationId, 'succeeded');
  expect(await get(`/v1/backups/${backupId}`)).toMatchObject({
    ...{ state: 'completed', databaseBytes: 5_120_000, files: 389, requestedBy: id },
  });
  expect((await get(of())).lastBackup).toMatchObject({ backupId, verified: false, ageSeconds: 0 });
  await say('backup.verified', { ...backup(backupId), ...proof() });
  expect(await shown(`/v1/backups/${backupId}`, 'verified')).toMatchObject({
    rtoMs: 4_711,
    depth: 'full',
    offSite: true,
  });
  expect((await get(of())).lastBackup).toMatchObject({ backupId, verified: true });
  const told = (await get(`${of()}/timeline?limit=500`)).items.filter(({ who }: { who: string }) => who === 'backup');
  expect(told.map(({ summary }: { summary: string }) => summary)).toEqual([
    expect.stringMatching(/^A backup was made/),
    expect.stringMatching(/^A backup \(manual\) is good: it was restored in 4711 ms/),
  ]);
  // Whoever is answered is not asked again.
  expect(await mesh.sql('SELECT 1 FROM api_gateway.asked WHERE message_id = $1', [operationId])).toEqual([]);
});

test.each([
  ['failed', 'backup.failed', (backupId: string) => backup(backupId)],
  ['refused', 'backup.refused', (backupId: string, requestId: string) => ({ requestId, backupId })],
] as const)('a backup that is %s says why', async (state, key, about) => {
  const { backupId, operationId } = (await post(`${of()}/backups`, {})).body;
  const why = { code: 'STORE_UNAVAILABLE', fault: 'provider', message: 'the store does not answer' };
  await say(key, { ...about(backupId, operationId), ...why }, operationId);
  await ended(operationId, state);
  expect(await operation(operationId)).toMatchObject({ reason: 'STORE_UNAVAILABLE', facts: [{ fault: 'provider' }] });
  expect(await shown(`/v1/backups/${backupId}`, state)).toMatchObject({
    ...{ code: 'STORE_UNAVAILABLE', message: 'the store does not answer' },
  });
});

test('facts of backups that come late, in the wrong order or again change nothing of what is so', async () => {
  const backupId = newId();
  const about = backup(backupId, 'scheduled');
  const facts = [
    { key: 'backup.completed.v1', message: fact('backup.completed', { ...about, ...made() }) },
    { key: 'backup.verified.v1', message: fact('backup.verified', { ...about, ...proof() }) },
    { key: 'backup.expired.v1', message: fact('backup.expired', { ...about, takenAt: now(), expiredAt: now() }) },
  ];
  const { lastBackup } = await get(of());
  const [first, second, third] = facts as [(typeof facts)[0], (typeof facts)[0], (typeof facts)[0]];
  for (const { key, message } of [second, second]) await mesh.publish(message, { key, as: 'backup' });
  await shown(`/v1/backups/${backupId}`, 'verified');
  for (const { key, message } of [third, first, first, second]) await mesh.publish(message, { key, as: 'backup' });
  const seen = await waitFor('all to be taken', async () => {
    const body = await get(`/v1/backups/${backupId}`);
    return body.state === 'expired' && body.checksum ? body : undefined;
  });
  expect(seen).toMatchObject({ rtoMs: 4_711, filesBytes: 10_240_000 });
  expect((await get(of())).lastBackup).toEqual(lastBackup);
  const line = `SELECT fact, count(*)::int AS lines FROM api_gateway.timeline WHERE message_id = ANY($1) GROUP BY fact`;
  expect(await mesh.sql(line, [facts.map(({ message }) => message.id)])).toHaveLength(3);
});

test('backups are listed newest first, a page at a time, and each customer sees its own', async () => {
  const ids = [await completed(), await completed(), await completed()].toReversed();
  const page = await get(`${of()}/backups?limit=2&state=completed`);
  expect(page.items.map((one: { backupId: string }) => one.backupId)).toEqual(ids.slice(0, 2));
  const next = await get(`${of()}/backups?limit=1&state=completed&after=${page.next}`);
  expect(next.items.map((one: { backupId: string }) => one.backupId)).toEqual(ids.slice(2));
  expect((await get(`${of(other)}/backups`)).items).toEqual([]);
  for (const one of [own, other])
    expect((await get(`${of(one)}/backups?after=${newId()}`)).code).toBe('unknown-backup');
  const { key } = await keyOf({ role: 'viewer', customerId: 'c-other' });
  for (const path of [`${of()}/backups`, `/v1/backups/${ids[0]}`])
    expect((await mesh.api(path, { key })).status).toBe(404);
});

test.each([
  ['hold', 'backup.hold-requested.v1', true, 'hold-backup'],
  ['release-hold', 'backup.hold-release-requested.v1', false, 'release-backup-hold'],
] as const)(
  '%s is asked for with a reason by an operator alone, and ends as the backup service says',
  async (name, key, held, action) => {
    const backupId = await completed();
    const path = `/v1/backups/${backupId}/actions/${name}`;
    const bound = await keyOf({ role: 'operator', customerId: 'c-own' });
    expect(await post(path, { reason: 'x' }, { key: bound.key })).toMatchObject({ status: 403 });
    expect(await post(`/v1/backups/${newId()}/actions/${name}`, { reason: 'x' })).toMatchObject({ status: 404 });
    const { id, key: bearer } = await keyOf({ role: 'operator' });
    const { status, body } = await post(path, { reason: 'a court' }, { key: bearer });
    expect([status, body.backupId]).toEqual([202, backupId]);
    expect((await requestOf(body.operationId)).envelope.data).toEqual({ backupId, reason: 'a court', requestedBy: id });
    expect((await requestOf(body.operationId)).key).toBe(key);
    await say('backup.hold-changed', { backupId, held, reason: 'a court' }, body.operationId);
    await ended(body.operationId, 'succeeded');
    expect(await operation(body.operationId)).toMatchObject({ action, instanceId: own.instanceId });
    expect(await get(`/v1/backups/${backupId}`)).toMatchObject({ held, holdReason: held ? 'a court' : null });

    const again = (await post(path, { reason: 'once more' })).body;
    const refusal = { requestId: again.operationId, code: 'UNKNOWN_BACKUP', fault: 'user', message: 'nobody has it' };
    // It names no instance.
    await say('backup.hold-refused', { ...refusal, backupId, instanceId: undefined }, again.operationId);
    await ended(again.operationId, 'refused');
    expect(await operation(again.operationId)).toMatchObject({ reason: 'UNKNOWN_BACKUP', facts: [{ fault: 'user' }] });
  },
);

const steps = ['footprint', 'database', 'files', 'check', 'switch'];

test('a restore is shown from its request to its end, and the instance says that it waits for it', async () => {
  const backupId = await completed();
  const { id, key } = await keyOf({ role: 'operator', customerId: 'c-own' });
  const wish = { backupId, mode: 'in-place', reason: 'a wrong import' };
  const answer = await post(`${of()}/restores`, wish, { key });
  expect(answer).toMatchObject({ status: 202, body: { instanceId: own.instanceId, to: null } });
  const { restoreId, operationId } = answer.body;
  expect((await requestOf(operationId)).envelope.data).toEqual({
    ...{ restoreId, instanceId: own.instanceId, requestedBy: id, ...wish },
  });
  const path = `/v1/restores/${restoreId}`;
  expect(await get(path)).toMatchObject({ state: 'requested', progress: null, requestedBy: id, backupId });
  expect(await get(`${of()}/explain`)).toMatchObject({
    ...{ state: 'running', waitsFor: expect.stringContaining('the backup service'), fault: 'platform' },
  });

  const about = { restoreId, backupId, mode: 'in-place' };
  const late = fact('restore.progressed', { ...about, step: 'footprint', steps, message: 'it is being made' });
  await say('restore.progressed', { ...about, step: 'files', steps, message: '7 of 389 are there' }, operationId);
  expect(await shown(path, 'running')).toMatchObject({
    ...{ progress: { step: 'files', number: 3, of: 5, steps }, message: '7 of 389 are there' },
  });
  expect(await get(`${of()}/explain`)).toMatchObject({
    ...{ waitsFor: 'its restore from a backup, at step 3 of 5 (files)', message: '7 of 389 are there' },
  });
  expect(await operation(operationId)).toMatchObject({ action: 'restore', state: 'pending' });

  const counted = { footprintId: newId(), safetyBackupId: newId(), durationMs: 41_000, rows: 81_234, files: 389 };
  await say('restore.completed', { ...about, ...counted }, operationId);
  await ended(operationId, 'succeeded');
  await mesh.publish(late, { key: 'restore.progressed.v1', as: 'backup' });
  const line = 'SELECT 1 FROM api_gateway.timeline WHERE message_id = $1';
  await waitFor('what comes late to be told', async () => (await mesh.sql(line, [late.id])).length > 0);
  expect(await get(path)).toMatchObject({ state: 'completed', message: null, progress: { step: 'files' }, ...counted });
  expect(await get(`${of()}/explain`)).toMatchObject({ waitsFor: null });
});

test.each([
  ['failed', 'restore.failed', (about: object) => about],
  ['refused', 'restore.refused', (about: object, requestId: string) => ({ ...about, requestId })],
] as const)('a clone whose restore is %s is not made, and its name is free', async (state, key, as) => {
  const backupId = await completed();
  const slug = `clone-${state}`;
  const wish = { backupId, mode: 'clone', to: { slug, customerId: 'c-own' }, reason: 'to try' };
  const { restoreId, operationId, to } = (await post(`${of()}/restores`, wish)).body;
  expect(to).toMatchObject({ slug, customerId: 'c-own', url: expect.stringMatching(`^http.*://${slug}\\.localhost`) });
  expect((await requestOf(operationId)).envelope.data).toMatchObject({
    to: { instanceId: to.instanceId, slug, customerId: 'c-own' },
  });
  const instance = `/v1/instances/${to.instanceId}`;
  expect(await get(instance)).toMatchObject({ state: 'requested', slug, customerId: 'c-own', operationId });
  expect((await get(`${instance}/explain`)).waitsFor).toMatch(/the backup service/);
  expect(await get(`${of()}/explain`)).toMatchObject({ waitsFor: null });
  expect(await post(`${of()}/restores`, wish)).toMatchObject({ status: 409, body: { code: 'slug-taken' } });

  const why = { code: 'CORRUPTED', fault: 'platform', message: 'a byte is not what it was' };
  await say(key, { ...as({ restoreId, backupId, mode: 'clone' }, operationId), ...why }, operationId);
  await ended(operationId, state);
  expect(await shown(`/v1/restores/${restoreId}`, state)).toMatchObject({ code: 'CORRUPTED', message: why.message });
  expect(await shown(instance, 'refused')).toMatchObject({ reason: 'CORRUPTED', message: why.message });
  expect(await post(`${of()}/restores`, wish)).toMatchObject({ status: 202 });
});

interface Wrong {
  readonly instance?: typeof own;
  readonly backupId?: string;
  readonly mode?: string;
  readonly to?: object;
  /** Of the key that asks. */
  readonly rights?: object;
}
const distinct = () => new Set(asked.map(({ envelope }) => envelope.id)).size;

test.each<[string, number, string, () => Wrong]>([
  ['of another instance', 409, 'backup-of-another', () => ({ instance: other })],
  ['that nobody knows', 404, 'unknown-backup', () => ({ backupId: newId() })],
  ['of somebody else', 404, 'unknown-backup', () => ({ instance: other, rights: { customerId: 'c-other' } })],
  ['for an instance of somebody else', 404, 'unknown-instance', () => ({ rights: { customerId: 'c-other' } })],
  ['by a clone that is nobody’s', 422, 'target-misplaced', () => ({ mode: 'clone' })],
  ['in place with a new instance', 422, 'target-misplaced', () => ({ to: { slug: 'x', customerId: 'c-own' } })],
  [
    'by a clone of a name that is taken',
    409,
    'slug-taken',
    () => ({ mode: 'clone', to: { slug: 'of-others', customerId: 'c-own' } }),
  ],
  [
    'by a clone of an id that is known',
    409,
    'instance-exists',
    () => ({ mode: 'clone', to: { slug: 'x', customerId: 'c-own', instanceId: other.instanceId } }),
  ],
  [
    'by a clone for somebody else',
    403,
    'other-customer',
    () => ({ mode: 'clone', to: { slug: 'x', customerId: 'c-other' }, rights: { customerId: 'c-own' } }),
  ],
  ['in a way that is none', 400, 'invalid', () => ({ mode: 'sideways' })],
])('a restore %s is said to be wrong at once, and nothing is sent', async (_, status, code, wrong) => {
  const known = await completed();
  const { instance = own, backupId = known, mode = 'in-place', to, rights } = wrong();
  const { key } = await keyOf({ role: 'operator', ...rights });
  const before = distinct();
  const answer = await post(`${of(instance)}/restores`, { backupId, mode, reason: 'x', ...(to && { to }) }, { key });
  expect([answer.status, answer.body.code]).toEqual([status, code]);
  // What is asked for after it is on the wire after it.
  const { operationId } = (await post(`${of()}/restores`, { backupId: known, mode: 'files-only', reason: 'right' }))
    .body;
  await requestOf(operationId);
  expect(distinct()).toBe(before + 1);
});

test('a backup that is not made yet, or is gone, is not restored', async () => {
  const { backupId } = (await post(`${of()}/backups`, {})).body;
  const wish = { mode: 'in-place', reason: 'too soon' };
  const notThere = { status: 409, body: { code: 'backup-not-there', detail: 'it is requested' } };
  expect(await post(`${of()}/restores`, { backupId, ...wish })).toMatchObject(notThere);
  const gone = await completed();
  await say('backup.expired', { ...backup(gone), takenAt: now(), expiredAt: now() });
  await shown(`/v1/backups/${gone}`, 'expired');
  expect(await post(`${of()}/restores`, { backupId: gone, ...wish })).toMatchObject({
    body: { detail: 'it is expired' },
  });
});

test.each([
  ['backups', () => ({ reason: 'again' })],
  [
    'restores',
    (backupId: string) => ({ backupId, mode: 'clone', to: { slug: 'once', customerId: 'c-own' }, reason: 'again' }),
  ],
] as const)('what is repeated at %s under its Idempotency-Key is asked for once', async (what, wish) => {
  const headers = { 'idempotency-key': newId() };
  const body = wish(await completed());
  const [one, two] = await Promise.all([1, 2].map(() => post(`${of()}/${what}`, body, { headers })));
  expect(one).toMatchObject({ status: 202 });
  expect(two!.body).toEqual(one!.body);
  await requestOf(one!.body.operationId);
  expect(asked.filter(({ envelope }) => envelope.id === one!.body.operationId)).toHaveLength(1);
  expect(await post(`${of()}/${what}`, { ...body, reason: 'other' }, { headers })).toMatchObject({ status: 422 });
});

test('a viewer’s key asks for nothing', async () => {
  const backupId = await completed();
  const { key } = await keyOf({ role: 'viewer' });
  const restore = { backupId, mode: 'in-place', reason: 'x' };
  for (const [path, body] of [
    [`${of()}/backups`, {}],
    [`${of()}/restores`, restore],
    [`/v1/backups/${backupId}/actions/hold`, { reason: 'x' }],
    [`/v1/backups/${backupId}/actions/release-hold`, { reason: 'x' }],
  ] as const)
    expect((await post(path, body, { key })).status).toBe(403);
  expect((await mesh.api(`/v1/restores/${newId()}`, { key })).body.code).toBe('unknown-restore');
});
