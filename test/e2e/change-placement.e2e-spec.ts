import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { newId } from '#contracts/index.js';
import { waitFor } from '#testing/wait-for.js';
import { TestMesh } from './test-mesh.js';

let mesh: TestMesh;

beforeAll(async () => {
  // Lifecycle, in whose name this spec speaks, has no part in it.
  mesh = await TestMesh.start({ start: ['capacity-planner', 'provisioner', 'api-gateway'] });
});
afterAll(() => mesh?.stop());

async function makeInstance(slug: string) {
  const request = mesh.request(slug);
  await mesh.publish(request);
  return await mesh.ready(request.data.instanceId);
}

/** @returns the fact that answers lifecycle's request, as it recognises it. */
async function ask(key: string, data: Record<string, unknown>) {
  const request = mesh.lifecycleRequest(key, data);
  await mesh.publish(request, { key, as: 'lifecycle' });
  const answer = () => mesh.heard.find(({ envelope }) => envelope.causationid === request.id);
  const { key: fact, envelope } = await mesh.explained(waitFor(`an answer to ${key}`, answer));
  return { fact, subject: envelope.subject, requestId: request.id, ...envelope.data };
}

const changePlan = (instanceId: string, plan: string) => ask('placement.change-requested.v1', { instanceId, plan });
const reserve = (instanceId: string, slug: string) => ask('host.reservation-requested.v1', { instanceId, slug });
const releaseKey = 'host.release-requested.v1';
const release = (instanceId: string, host: string) => ask(releaseKey, { instanceId, host, reason: 'renamed' });

async function placementOf(instanceId: string) {
  const [row] = await mesh.sql<{ plan: unknown; host: string; cell: string }>(
    'SELECT plan, host, cell FROM capacity_planner.placement WHERE instance_id = $1',
    [instanceId],
  );
  return row!;
}

async function namesOf(instanceId: string) {
  const rows = await mesh.sql<{ name: string; rests: boolean }>(
    `SELECT split_part(host, '.', 1) AS name, coalesce(rests_until > now() + interval '29 days', false) AS rests
     FROM capacity_planner.host_name WHERE instance_id = $1`,
    [instanceId],
  );
  return Object.fromEntries(rows.map(({ name, rests }) => [name, rests ? 'rests' : 'held']));
}

async function refusedRelease(instanceId: string, host: string): Promise<string> {
  const request = mesh.lifecycleRequest(releaseKey, { instanceId, host, reason: 'renamed' });
  await mesh.publish(request, { key: releaseKey, as: 'lifecycle' });
  return await waitFor('the parked request', async () => {
    const rows = await mesh.sql<{ error: string }>(
      'SELECT error FROM api_gateway.parked_message WHERE position($1::bytea in body) > 0',
      [Buffer.from(request.id)],
    );
    return rows[0]?.error;
  });
}

test('another plan is kept with the placement in its newest version, and asked for again it is answered again', async () => {
  const { instanceId, plan } = await makeInstance('growing');
  expect((await placementOf(instanceId)).plan).toEqual(plan);
  const changed = { fact: 'placement.changed.v1', plan: { name: 'enterprise', version: 2 } };
  expect(await changePlan(instanceId, 'enterprise')).toMatchObject(changed);
  expect(await changePlan(instanceId, 'enterprise')).toMatchObject(changed);
  expect((await placementOf(instanceId)).plan).toEqual(changed.plan);
  expect(await changePlan(instanceId, 'gigantic')).toMatchObject({
    fact: 'placement.change-refused.v1',
    code: 'unknown-plan',
    fault: 'user',
  });
  expect((await placementOf(instanceId)).plan).toEqual(changed.plan);
  // What was accepted is not touched by it: the request comes again and is known.
  const placed = mesh.said('instance.placed.v1', instanceId)[0]!.envelope.data;
  const again = mesh.request('growing', placed.specification);
  await mesh.publish(again);
  await waitFor('the repeat to be handled', async () => {
    const rows = await mesh.sql('SELECT 1 FROM capacity_planner.inbox WHERE message_id = $1', [again.id]);
    return rows.length > 0;
  });
  expect(mesh.heard.filter(({ envelope }) => envelope.causationid === again.id)).toEqual([]);
});

test('an instance holds two names while it is renamed, and then the new one', async () => {
  const { instanceId, host: old } = await makeInstance('before');
  const domain = old.slice('before.'.length);
  const host = `after.${domain}`;
  const reserved = { fact: 'host.reserved.v1', subject: host, host, instanceId };
  expect(await reserve(instanceId, 'after')).toMatchObject(reserved);
  expect(await reserve(instanceId, 'after')).toMatchObject(reserved);
  expect((await placementOf(instanceId)).host).toBe(old);
  expect(await namesOf(instanceId)).toEqual({ before: 'held', after: 'held' });

  expect(await release(instanceId, old)).toMatchObject({ fact: 'host.released.v1', subject: old, instanceId });
  expect((await placementOf(instanceId)).host).toBe(host);
  expect(await namesOf(instanceId)).toEqual({ before: 'rests', after: 'held' });
  expect(await release(instanceId, old)).toMatchObject({ fact: 'host.released.v1', host: old });
  // While it rests nobody else gets it; the one it was may have it back.
  const other = await makeInstance('other');
  const { requestId, ...refusal } = await reserve(other.instanceId, 'before');
  expect(refusal).toMatchObject({
    fact: 'host.reservation-refused.v1',
    subject: requestId,
    code: 'slug-taken',
    fault: 'user',
    host: old,
  });
  expect(await reserve(instanceId, 'before')).toMatchObject({ fact: 'host.reserved.v1', host: old });
  expect((await placementOf(instanceId)).host).toBe(host);
  expect(await namesOf(instanceId)).toEqual({ before: 'held', after: 'held' });

  expect(await refusedRelease(other.instanceId, old)).toMatch(/not one of the names of this instance/);
  expect(await refusedRelease(other.instanceId, other.host)).toMatch(/the only name/);
  expect(await refusedRelease(newId(), old)).toMatch(/is not known here/);
  expect(await namesOf(instanceId)).toEqual({ before: 'held', after: 'held' });
  expect(await namesOf(other.instanceId)).toEqual({ other: 'held' });
});

test('domains of a customer are held all or none, and are free as soon as they are given up', async () => {
  const [one, other] = [await makeInstance('domains-one'), await makeInstance('domains-other')];
  const [a, b, c] = ['a.acme.example', 'b.acme.example', 'c.acme.example'];
  const reserveAll = ({ instanceId }: typeof one, customDomains: string[], more: object = {}) =>
    ask('host.reservation-requested.v1', { instanceId, customDomains, ...more });
  const held = async ({ instanceId }: typeof one) => {
    const rows = 'SELECT host FROM capacity_planner.host_name WHERE instance_id = $1 ORDER BY host';
    return (await mesh.sql<{ host: string }>(rows, [instanceId])).map(({ host }) => host);
  };
  const giveUp = (host: string, reservation: string) =>
    ask(releaseKey, { instanceId: one.instanceId, host, reason: 'taken away', reservation });

  const { requestId: reservation, ...reserved } = await reserveAll(one, [a, b], { slug: 'domains-new' });
  expect(reserved).toMatchObject({ fact: 'host.reserved.v1', instanceId: one.instanceId });
  const mine = [a, b, one.host, one.host.replace('domains-one', 'domains-new')].sort();
  expect(await held(one)).toEqual(mine);

  const refused = { fact: 'host.reservation-refused.v1', fault: 'user' };
  expect(await reserveAll(other, [c, b])).toMatchObject({ ...refused, code: 'domain-taken', host: b });
  expect(await reserveAll(other, [c], { slug: 'domains-new' })).toMatchObject({ ...refused, code: 'slug-taken' });
  expect(await reserveAll(other, [c, other.host])).toMatchObject({ ...refused, code: 'domain-of-the-mesh' });
  expect(await reserveAll(other, [c, '*.acme.example'])).toMatchObject({ ...refused, code: 'domain-not-a-name' });
  expect(await held(other)).toEqual([other.host]);

  // What comes late from before it was reserved gives nothing up.
  expect(await giveUp(b, newId())).toMatchObject({ fact: 'host.reserved.v1', host: b, requestId: reservation });
  expect(await held(one)).toEqual(mine);
  for (const _ of ['once', 'and again'])
    expect(await giveUp(b, reservation)).toMatchObject({ fact: 'host.released.v1', host: b, atOnce: true });
  expect(await reserveAll(other, [c, b])).toMatchObject({ fact: 'host.reserved.v1' });
  expect(await held(other)).toEqual([b, c, other.host]);
});

test('all names of an instance rest after its end, and nothing more is changed about it', async () => {
  const ready = await makeInstance('ending');
  const { instanceId } = ready;
  await reserve(instanceId, 'ending-elsewhere');
  await mesh.purge(ready);
  await waitFor('both names to be given up', () => mesh.said('host.released.v1', instanceId).length === 2);
  expect(await namesOf(instanceId)).toEqual({ ending: 'rests', 'ending-elsewhere': 'rests' });
  const refused = { code: 'not-placed', fault: 'user' };
  expect(await changePlan(instanceId, 'starter')).toMatchObject({ fact: 'placement.change-refused.v1', ...refused });
  expect(await reserve(instanceId, 'ending')).toMatchObject({ fact: 'host.reservation-refused.v1', ...refused });
  expect(await namesOf(instanceId)).toEqual({ ending: 'rests', 'ending-elsewhere': 'rests' });
});

test.each([
  ['admin', 'slug-reserved'],
  ['-x', 'slug-not-a-label'],
])('nobody is renamed to %j', async (slug, code) => {
  const { instanceId, host } = await makeInstance(`named-${newId().slice(-6)}`);
  expect(await reserve(instanceId, slug)).toMatchObject({ fact: 'host.reservation-refused.v1', code, fault: 'user' });
  expect((await placementOf(instanceId)).host).toBe(host);
});

test('for an instance that nobody knows there is a refusal', async () => {
  const instanceId = newId();
  const refused = { code: 'not-placed', fault: 'platform', instanceId };
  expect(await changePlan(instanceId, 'starter')).toMatchObject({ fact: 'placement.change-refused.v1', ...refused });
  expect(await reserve(instanceId, 'nobodys')).toMatchObject({ fact: 'host.reservation-refused.v1', ...refused });
});
