import { request } from 'node:http';
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { epochAnnotation } from '#odoo/index.js';
import { waitFor } from '#testing/wait-for.js';
import { Lifecycle } from './lifecycle.js';
import { TestMesh } from './test-mesh.js';

let mesh: TestMesh;
let lifecycle: Lifecycle;
beforeAll(async () => {
  mesh = await TestMesh.start({
    jobLease: '3s',
    lifecycle: { MESH_FORMER_NAME_FOR: '30s', MESH_START_DEADLINE: '10s' },
  });
  lifecycle = new Lifecycle(mesh);
});
afterAll(() => mesh?.stop());

const running = (slug: string) => lifecycle.running(slug);
type Ready = Awaited<ReturnType<typeof running>>;

const at = (ready: Ready, slug: string) => `${slug}${ready.host.slice(ready.host.indexOf('.'))}`;

interface Rule {
  readonly match: string;
  readonly services: readonly { readonly name: string }[];
}

const routeOf = ({ namespace, volumeClaim: name }: Ready) =>
  // biome-ignore lint/suspicious/noExplicitAny: a stranger's eyes
  mesh.cluster.get<any>({ kind: 'IngressRoute', name, namespace });

/** All that is said on the cluster of each host. */
async function rulesOf(ready: Ready): Promise<Record<string, Rule[]>> {
  const rules: Rule[] = (await routeOf(ready)).spec.routes;
  return Object.groupBy(rules, ({ match }) => /^Host\(`([^`]+)`\)/.exec(match)![1]!) as Record<string, Rule[]>;
}

/** Where each host leads on the cluster. */
async function routesOf(ready: Ready): Promise<Record<string, string>> {
  return Object.fromEntries(
    Object.entries(await rulesOf(ready)).map(([host, [rule]]) => [
      host,
      rule!.services[0]!.name === 'edge' ? 'edge' : 'instance',
    ]),
  );
}

async function baseUrlOf({ database }: Ready): Promise<string> {
  const [row] = await mesh.sql<{ value: string }>(
    `SELECT value FROM ir_config_parameter WHERE key = 'web.base.url'`,
    [],
    database,
  );
  return row!.value;
}

/** What the edge says to who comes to a host: where to go, or why nobody answers. */
async function toldAt(host: string): Promise<string> {
  const { promise, resolve, reject } = Promise.withResolvers<string>();
  const sent = request(
    { port: mesh.services.ports.pages, path: '/web?debug=1', headers: { host }, agent: false },
    (response) => {
      response.resume();
      resolve(response.headers.location ?? String(response.statusCode));
    },
  );
  sent.once('error', reject).end();
  return await promise;
}

const isToldAt = (host: string, what: string) =>
  mesh.explained(waitFor(`${host} to be told ${what}`, async () => (await toldAt(host)) === what));

const released = (ready: Ready) =>
  mesh.said('host.released.v1', ready.instanceId).map(({ envelope }) => envelope.data.host);

const isGivenUp = (ready: Ready, host: string) =>
  mesh.explained(waitFor(`${host} to be released`, () => released(ready).includes(host), { timeoutMs: 60_000 }));

/** What the planner holds for it. */
async function heldBy({ instanceId }: Ready): Promise<string[]> {
  const held = 'SELECT host FROM capacity_planner.host_name WHERE instance_id = $1 AND rests_until IS NULL';
  return (await mesh.sql<{ host: string }>(held, [instanceId])).map(({ host }) => host).sort();
}

/** Whose former names lead to it for a while: what becomes of those is looked at last, when their time is over anyway. */
const renamed: { ready: Ready; host: string; former: string[]; leadsTo: string }[] = [];

test('what runs is found at its new name, and its old one leads there', async () => {
  const ready = await running('old-name');
  const [host, url] = [at(ready, 'new-name'), ready.url.replace('old-name', 'new-name')];
  expect(await lifecycle.do('rename', ready.instanceId, { slug: 'new-name' })).toMatchObject({
    ...{ fact: 'renamed', host, previousHost: ready.host, url },
  });
  expect(lifecycle.stateOf(ready.instanceId)).toMatchObject({ state: 'running', reason: 'renamed', host });
  expect(await routesOf(ready)).toEqual({ [host]: 'instance', [ready.host]: 'edge' });
  expect(await baseUrlOf(ready)).toBe(url);
  expect((await mesh.sql('SELECT is_called FROM base_cache_signaling_default', [], ready.database))[0]).toEqual({
    is_called: true,
  });
  await isToldAt(ready.host, `//${host}/web?debug=1`);

  // Whatever is done with it meanwhile.
  await lifecycle.do('stop', ready.instanceId);
  expect(await routesOf(ready)).toEqual({ [host]: 'edge', [ready.host]: 'edge' });
  await lifecycle.do('start', ready.instanceId);
  expect(await routesOf(ready)).toEqual({ [host]: 'instance', [ready.host]: 'edge' });

  expect(released(ready)).toEqual([]);
  renamed.push({ ready, host, former: [ready.host], leadsTo: 'instance' });
});

test('what stands still is renamed and stands still; a second time, and back, each name leads to the last', async () => {
  const ready = await running('stands-a');
  await lifecycle.do('stop', ready.instanceId);
  const [b, c] = [at(ready, 'stands-b'), at(ready, 'stands-c')];
  await lifecycle.do('rename', ready.instanceId, { slug: 'stands-b' });
  expect(lifecycle.stateOf(ready.instanceId)).toMatchObject({ state: 'stopped', reason: 'requested', host: b });
  expect(await routesOf(ready)).toEqual({ [b]: 'edge', [ready.host]: 'edge' });
  await isToldAt(b, '503');
  await isToldAt(ready.host, `//${b}/web?debug=1`);

  await lifecycle.do('rename', ready.instanceId, { slug: 'stands-c' });
  expect(await routesOf(ready)).toEqual({ [c]: 'edge', [b]: 'edge', [ready.host]: 'edge' });
  for (const host of [ready.host, b]) await isToldAt(host, `//${c}/web?debug=1`);

  const back = await lifecycle.do('rename', ready.instanceId, { slug: 'stands-a' });
  expect(back).toMatchObject({ fact: 'renamed', host: ready.host, previousHost: c, url: ready.url });
  expect(await baseUrlOf(ready)).toBe(ready.url);
  for (const host of [b, c]) await isToldAt(host, `//${ready.host}/web?debug=1`);
  await isToldAt(ready.host, '503');
  renamed.push({ ready, host: ready.host, former: [b, c], leadsTo: 'edge' });
});

test('a name that it has already is answered at once, and nothing is done', async () => {
  const ready = await running('same-name');
  expect(await lifecycle.do('rename', ready.instanceId, { slug: 'same-name' })).toMatchObject({
    ...{ fact: 'renamed', host: ready.host, previousHost: ready.host, url: ready.url, durationMs: 0 },
  });
});

test.each([
  ['that somebody else has', 'taken', 'slug-taken'],
  ['that is reserved', 'admin', 'slug-reserved'],
  ['that is none', 'Not.A.Label', 'slug-not-a-label'],
])('a name %s is refused with the planner’s reason, and nothing has changed', async (_, slug, code) => {
  if (code === 'slug-taken') await running(slug);
  const ready = await running(`wants-${code}`);
  expect(await lifecycle.do('rename', ready.instanceId, { slug })).toMatchObject({
    ...{ fact: 'operation-failed', operation: 'rename', code, fault: 'user' },
  });
  expect(lifecycle.stateOf(ready.instanceId)).toMatchObject({ state: 'running', host: ready.host });
  expect(await routesOf(ready)).toEqual({ [ready.host]: 'instance' });
  expect(await baseUrlOf(ready)).toBe(ready.url);
  expect(released(ready)).toEqual([]);
});

test('domains of its customer lead where its host does, whatever becomes of it, and are somebody else’s after it', async () => {
  const [ready, other] = [await running('domains'), await running('domains-other')];
  const { instanceId, host } = ready;
  const [erp, shop, free] = ['erp.acme.example', 'shop.acme.example', 'free.acme.example'];
  const isFoundAt = (one: Ready, ...customDomains: string[]) =>
    lifecycle.do('rename', one.instanceId, { customDomains });
  const lead = (to: string, ...hosts: string[]) => Object.fromEntries(hosts.map((one) => [one, to]));

  const found = { fact: 'renamed', host, previousHost: host, url: ready.url, customDomains: [erp, shop] };
  expect(await isFoundAt(ready, shop, erp)).toMatchObject(found);
  expect(lifecycle.stateOf(instanceId)).toMatchObject({
    state: 'running',
    reason: 'renamed',
    host,
    customDomains: [erp, shop],
  });
  expect(await baseUrlOf(ready)).toBe(ready.url);
  const { [host]: own, ...beside } = await rulesOf(ready);
  const elsewhere = (domain: string) => own!.map((rule) => ({ ...rule, match: rule.match.replace(host, domain) }));
  expect(beside).toEqual({ [erp]: elsewhere(erp), [shop]: elsewhere(shop) });
  expect(await isFoundAt(ready, erp, shop)).toMatchObject({ ...found, durationMs: 0 });
  const shown = async () => (await mesh.api(`/v1/instances/${instanceId}`)).body.customDomains;
  await waitFor('both to be shown', async () => String(await shown()) === String([erp, shop]));

  // All or none.
  expect(await isFoundAt(other, free, erp)).toMatchObject({
    ...{ fact: 'operation-failed', code: 'domain-taken', fault: 'user', message: expect.stringContaining(erp) },
  });
  expect(await heldBy(other)).toEqual([other.host]);
  expect(await routesOf(other)).toEqual(lead('instance', other.host));
  expect(await isFoundAt(other, at(ready, 'other'))).toMatchObject({
    fact: 'operation-refused',
    code: 'domain-of-the-mesh',
  });
  expect(await lifecycle.do('rename', other.instanceId)).toMatchObject({ code: 'NOTHING_ASKED' });

  await lifecycle.do('stop', instanceId);
  expect(await routesOf(ready)).toEqual(lead('edge', host, erp, shop));
  for (const domain of [erp, shop]) await isToldAt(domain, '503');
  await lifecycle.do('resize', instanceId, { plan: 'enterprise' });
  await lifecycle.do('start', instanceId);
  expect(await routesOf(ready)).toEqual(lead('instance', host, erp, shop));
  const renamedTo = at(ready, 'domains-renamed');
  await lifecycle.do('rename', instanceId, { slug: 'domains-renamed' });
  expect(await routesOf(ready)).toEqual({ ...lead('instance', renamedTo, erp, shop), [host]: 'edge' });

  // One goes, and leads nowhere: it is free at once.
  expect(await isFoundAt(ready, erp)).toMatchObject({ fact: 'renamed', customDomains: [erp] });
  expect(await routesOf(ready)).toEqual({ ...lead('instance', renamedTo, erp), [host]: 'edge' });
  await isGivenUp(ready, shop);
  await isToldAt(shop, '404');
  expect(await isFoundAt(other, shop)).toMatchObject({ fact: 'renamed', customDomains: [shop] });
  expect(await routesOf(other)).toEqual(lead('instance', other.host, shop));

  await lifecycle.do('termination', instanceId);
  expect(await routesOf(ready)).toEqual(lead('edge', renamedTo, erp, host));
  await isToldAt(erp, '503');
  await mesh.purge(ready);
  for (const one of [renamedTo, host, erp]) await isGivenUp(ready, one);
  expect([await heldBy(ready), await routeOf(ready)]).toEqual([[], undefined]);
  await isToldAt(erp, '404');
  await waitFor('none to be shown', async () => String(await shown()) === '');
  expect(await isFoundAt(other, erp, shop)).toMatchObject({ fact: 'renamed', customDomains: [erp, shop] });
  await lifecycle.do('stop', other.instanceId);
  await isToldAt(erp, '503');
});

test('killed at each of its stages, a rename comes to its end, once', async () => {
  const ready = await running('killed-old');
  const host = at(ready, 'killed-new');
  const domains = ['a.killed.example', 'b.killed.example'];
  const operation = await lifecycle.ask('rename', ready.instanceId, { slug: 'killed-new', customDomains: domains });
  const stageOf = async () => {
    const [row] = await mesh.sql<{ stage: number; status: string }>(
      'SELECT stage, status FROM lifecycle.operation WHERE operation_id = $1',
      [operation],
    );
    return row?.status === 'ended' ? 99 : (row?.stage ?? -1);
  };
  for (let stage = 0; stage <= 2; stage++) {
    await waitFor(`stage ${stage}`, async () => (await stageOf()) >= stage, { intervalMs: 5 });
    await mesh.services.kill('lifecycle');
    await mesh.services.start('lifecycle');
  }
  expect(await lifecycle.answerTo(operation)).toMatchObject({
    ...{ fact: 'renamed', host, previousHost: ready.host, customDomains: domains },
  });
  expect(lifecycle.answersTo(operation)).toHaveLength(1);
  const leads = Object.fromEntries([host, ...domains].map((one) => [one, 'instance']));
  expect(await routesOf(ready)).toEqual({ ...leads, [ready.host]: 'edge' });
  expect(await baseUrlOf(ready)).toMatch(/killed-new/);
});

test('a rename that cannot be brought to its end is taken back, and its names given back', async () => {
  const ready = await running('stays-so');
  const [kept, never] = ['kept.stays.example', 'never.stays.example'];
  await lifecycle.do('rename', ready.instanceId, { customDomains: [kept] });
  const route = { kind: 'IngressRoute', name: ready.volumeClaim, namespace: ready.namespace };
  const writtenUnder = (epoch: number) =>
    mesh.cluster.merge(route, { metadata: { annotations: { [epochAnnotation]: String(epoch) } } }, 'mesh-footprint');
  // Somebody has written the route with a later word: it cannot be written any more.
  await writtenUnder(1_000);
  const operation = await lifecycle.ask('rename', ready.instanceId, { slug: 'never-so', customDomains: [never] });
  const row = async () =>
    (
      await mesh.sql<{ stage: number; failure: object | null }>(
        `SELECT stage, progress->'failure' AS failure FROM lifecycle.operation WHERE operation_id = $1`,
        [operation],
      )
    )[0];
  await mesh.explained(waitFor('the route to be tried', async () => (await row())?.stage === 2));
  expect(await baseUrlOf(ready)).toMatch('never-so');
  await mesh.explained(waitFor('it to be taken back', async () => (await row())?.failure, { timeoutMs: 60_000 }));
  await writtenUnder(1);
  expect(await lifecycle.answerTo(operation)).toMatchObject({ fact: 'operation-failed', code: 'EPOCH_AHEAD' });
  expect(lifecycle.stateOf(ready.instanceId)).toMatchObject({
    ...{ state: 'running', host: ready.host, customDomains: [kept] },
  });
  expect(await routesOf(ready)).toEqual({ [ready.host]: 'instance', [kept]: 'instance' });
  expect(await baseUrlOf(ready)).toBe(ready.url);
  for (const host of [at(ready, 'never-so'), never]) await isGivenUp(ready, host);
  expect(await heldBy(ready)).toEqual([kept, ready.host]);
});

const inTheNameOfLifecycle = (key: string, data: Record<string, unknown>) =>
  mesh.publish(mesh.lifecycleRequest(key, data), { key, as: 'lifecycle' });

test('a name that nobody waits for any more is given back', async () => {
  const ready = await running('no-rename');
  // As it is when the planner's answer comes after the rename has given up waiting.
  await inTheNameOfLifecycle('host.reservation-requested.v1', { instanceId: ready.instanceId, slug: 'too-late' });
  await isGivenUp(ready, at(ready, 'too-late'));
  expect(lifecycle.stateOf(ready.instanceId)).toMatchObject({ host: ready.host });
});

test('a name that it has stays its own, though an older giving up of it comes late', async () => {
  const ready = await running('comes-back');
  const { instanceId } = ready;
  const { host } = await lifecycle.do('rename', instanceId, { slug: 'kept' });
  await inTheNameOfLifecycle('host.release-requested.v1', { instanceId, host, reason: 'of an earlier time' });
  await isGivenUp(ready, host);
  await mesh.explained(
    waitFor('the planner to hold it again', async () => {
      const held =
        'SELECT 1 FROM capacity_planner.host_name WHERE host = $1 AND instance_id = $2 AND rests_until IS NULL';
      return (await mesh.sql(held, [host, instanceId])).length === 1;
    }),
  );
});

test('a former name is given up when its time is over, and nothing is left of it', async () => {
  expect(renamed).toHaveLength(2);
  for (const { ready, host, former, leadsTo } of renamed) {
    for (const one of former) await isGivenUp(ready, one);
    expect(await routesOf(ready)).toEqual({ [host]: leadsTo });
    expect(released(ready)).toEqual(former);
    expect(lifecycle.stateOf(ready.instanceId)).toMatchObject({ host });
  }
});
