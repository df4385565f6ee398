import { afterAll, beforeAll, expect, test } from '@jest/globals';
import type { V1Deployment, V1PersistentVolumeClaim, V1Secret, V1Service } from '@kubernetes/client-node';
import { Client } from 'pg';
import { newId } from '#contracts/index.js';
import type { KubernetesObject } from '#kubernetes/index.js';
import { waitFor } from '#testing/wait-for.js';
import { stackEnvironment } from './config.js';
import { TestMesh } from './test-mesh.js';

let mesh: TestMesh;

beforeAll(async () => {
  mesh = await TestMesh.start();
});
afterAll(() => mesh?.stop());

/** What is there under a footprint's names, as an administrator sees it. */
async function world(ready: { namespace: string; volumeClaim: string; secret: string; database: string }) {
  const { namespace, volumeClaim: name, secret } = ready;
  const get = <T>(kind: string, of = name) => mesh.cluster.get<T & KubernetesObject>({ kind, name: of, namespace });
  return {
    secret: await get<V1Secret>('Secret', secret),
    claim: await get<V1PersistentVolumeClaim>('PersistentVolumeClaim'),
    service: await get<V1Service>('Service'),
    deployment: await get<V1Deployment>('Deployment'),
    route: await get<{ spec: { routes: { match: string }[] } }>('IngressRoute'),
    role: (await mesh.sql('SELECT rolsuper, rolcreatedb FROM pg_roles WHERE rolname = $1', [ready.database]))[0],
    databases: await mesh.sql('SELECT 1 FROM pg_database WHERE datname = $1', [ready.database]),
  };
}

async function countFootprints(): Promise<number> {
  return Number((await mesh.sql<{ n: string }>('SELECT count(*) AS n FROM provisioner.footprint'))[0]!.n);
}

test('a foreign service publishes a request, and an instance is Ready with all it consists of', async () => {
  const request = mesh.request('first', { company: 'First Ltd', adminLogin: 'owner@first.example' });
  await mesh.publish(request);
  const ready = await mesh.ready(request.data.instanceId);
  expect(ready).toMatchObject({
    customerId: 'c-1042',
    host: 'first.localhost',
    url: 'http://first.localhost',
    verified: 'pod-condition',
    claim: 'new',
    plan: { name: 'business', version: 1 },
  });

  const there = await world(ready);
  expect(there.deployment?.status?.readyReplicas).toBe(1);
  expect(there.claim?.status?.phase).toBe('Bound');
  expect(there.service?.spec?.clusterIP).toBe('None');
  expect(there.route?.spec.routes[0]?.match).toBe('Host(`first.localhost`)');
  expect(there.role).toEqual({ rolsuper: false, rolcreatedb: false });

  // The password in the Secret opens this database, which carries the customer's names, and no other.
  const conf = Buffer.from(there.secret!.data!['odoo.conf']!, 'base64').toString();
  const password = /db_password = (\S+)/.exec(conf)![1]!;
  const open = async (database: string) => {
    const url = new URL(stackEnvironment().MESH_POSTGRES_URL);
    Object.assign(url, { username: ready.role, password, pathname: `/${database}` });
    const client = new Client({ connectionString: url.toString() });
    await client.connect();
    return client;
  };
  const tenant = await open(ready.database);
  const { rows } = await tenant.query(
    `SELECT u.login, c.name AS company, (SELECT value FROM ir_config_parameter WHERE key = 'database.uuid') AS uuid
     FROM res_users u JOIN res_company c ON c.id = u.company_id WHERE u.id = 2`,
  );
  await tenant.end();
  expect(rows).toEqual([{ login: 'owner@first.example', company: 'First Ltd', uuid: ready.uuid }]);
  await expect(open('template1')).rejects.toThrow(/permission denied/);
  await expect(open(`${mesh.name}_mesh`)).rejects.toThrow(/permission denied/);
});

test('each step is told, with how long it took', async () => {
  const request = mesh.request('steps');
  await mesh.publish(request);
  const { timings } = await mesh.ready(request.data.instanceId);
  const told = await waitFor<string[] | undefined>('all steps', () => {
    const steps = mesh.said('instance.provisioning-progressed.v1', request.data.instanceId);
    const done = steps.map((one) => one.envelope.data).filter((data) => data.durationMs !== undefined);
    return done.length === 6 ? done.map((data) => data.step) : undefined;
  });
  expect(told).toEqual(['secret', 'volume', 'role', 'database', 'tenant', 'workload']);
  expect(Object.keys(timings).sort()).toEqual([...told, 'ready'].sort());
});

test('a publisher in Python is served like any other', async () => {
  const request = mesh.request('python');
  await mesh.publishByPython(request);
  await mesh.ready(request.data.instanceId);
});

test('the least that may be sent is enough', async () => {
  const { specversion, id, source, type, data } = mesh.request('least');
  const { bundle: _, ...least } = data;
  await mesh.publish({ specversion, id, source, type, data: least });
  expect((await mesh.ready(data.instanceId)).template).toMatchObject({ bundle: 'apps', language: 'en_US' });
});

test('the same request ten times is one instance, also under other message ids', async () => {
  const before = await countFootprints();
  const request = mesh.request('tenfold');
  for (let i = 0; i < 10; i++) await mesh.publish(i < 5 ? request : { ...request, id: newId() });
  await mesh.ready(request.data.instanceId);
  await waitFor('all ten to be handled', async () => {
    const [row] = await mesh.sql<{ n: string }>(
      `SELECT count(*) AS n FROM capacity_planner.inbox WHERE source = 'signup' AND handled_at > now() - interval '1 minute'`,
    );
    return Number(row!.n) >= 6;
  });
  expect(await countFootprints()).toBe(before + 1);
  expect(mesh.said('instance.placed.v1', request.data.instanceId)).toHaveLength(1);
});

test('the same id with another body is refused and leaves the living instance alone', async () => {
  const request = mesh.request('original');
  await mesh.publish(request);
  await mesh.ready(request.data.instanceId);
  const other = mesh.request('other', { instanceId: request.data.instanceId });
  await mesh.publish(other);
  expect(await mesh.refused(other.id)).toMatchObject({ code: 'same-id-other-body', fault: 'user' });
  const { body } = await mesh.api(`/v1/instances/${request.data.instanceId}`);
  expect(body).toMatchObject({ state: 'running', slug: 'original' });
});

test.each([
  ['no DNS label', { slug: 'Not_A_Label' }, 'slug-not-a-label'],
  ['an empty one', { slug: '' }, 'slug-not-a-label'],
  ['punycode', { slug: 'xn--bcher-kva' }, 'slug-not-a-label'],
  ['reserved', { slug: 'admin' }, 'slug-reserved'],
  ['taken', { slug: 'first' }, 'slug-taken'],
  ['of an unknown plan', { plan: 'galaxy' }, 'unknown-plan'],
  ['of an unknown version', { odooVersion: '7.0' }, 'unknown-version'],
  ['of an unknown bundle', { bundle: 'spaceship' }, 'unknown-bundle'],
  ['of a language without template', { language: 'tlh' }, 'unknown-language'],
])('a request whose name or wish is %s is refused, and nothing is half made', async (_, data, code) => {
  const request = mesh.request(`refused-${code}`, data);
  await mesh.publish(request);
  expect(await mesh.refused(request.id)).toMatchObject({ code, fault: 'user', instanceId: request.data.instanceId });
  const left = await mesh.sql(
    `SELECT 1 FROM capacity_planner.placement WHERE instance_id = $1
     UNION ALL SELECT 1 FROM capacity_planner.host_name WHERE instance_id = $1
     UNION ALL SELECT 1 FROM provisioner.footprint WHERE instance_id = $1`,
    [request.data.instanceId],
  );
  expect(left).toEqual([]);
});

test.each<[string, () => { body: string; key?: string }, string]>([
  [
    'of an unknown type',
    () => ({ body: JSON.stringify(mesh.request('odd', {}, { type: 'mesh.instance.danced.v1' })) }),
    'unknown-type',
  ],
  ['that nobody binds', () => ({ body: '{"mark": "unbound"}', key: 'instance.danced.v1' }), 'unrouted'],
  ['that is no JSON', () => ({ body: 'mark {' }), 'not-json'],
  ['that is no CloudEvent', () => ({ body: '{"mark": true}' }), 'broken-envelope'],
  [
    'without an instance id',
    () => ({ body: JSON.stringify(mesh.request('odd', { instanceId: undefined })) }),
    'broken-data',
  ],
  [
    'that is too large',
    () => ({ body: JSON.stringify(mesh.request('odd', { company: 'x'.repeat(400_000) })) }),
    'oversize',
  ],
])('a message %s is parked with its reason and hurts nobody', async (_, make, reason) => {
  const { body, key } = make();
  // A foreign service can only use the keys of requests; for any other it takes an administrator.
  const known = mesh.request(`beside-${reason}`);
  const [last] = await mesh.sql<{ id: string }>('SELECT coalesce(max(id), 0) AS id FROM api_gateway.parked_message');
  await (key ? mesh.publishAsAdministrator(body, key) : mesh.publish(body));
  await mesh.publish(known);
  const row = await waitFor('the parked message', async () => {
    const rows = await mesh.sql<{ reason: string; error: string; body_bytes: number }>(
      'SELECT reason, error, body_bytes FROM api_gateway.parked_message WHERE id > $1',
      [last!.id],
    );
    return rows[0];
  });
  expect(row).toMatchObject({ reason, body_bytes: Buffer.byteLength(body) });
  expect(row.error).not.toBe('');
  await mesh.ready(known.data.instanceId);
});

test('text that would be an attack if anybody believed it stays text', async () => {
  const evil = `'); DROP TABLE res_users; -- "$(reboot)" {{7*7}} \`id\` \\ $$ %s \${x} &lt; é漢`;
  const request = mesh.request('injection', {
    customerId: `c'; --\n- evil: true`.replace('\n', ' '),
    company: evil,
    adminLogin: `${evil}@x.example`,
    externalRef: evil,
  });
  await mesh.publish(request);
  const ready = await mesh.ready(request.data.instanceId);
  const [row] = await mesh.sql(
    `SELECT c.name AS company, p.complete_name, u.login FROM res_company c
     JOIN res_partner p ON p.id = c.partner_id JOIN res_users u ON u.id = 2`,
    [],
    ready.database,
  );
  expect(row).toEqual({ company: evil, complete_name: evil, login: `${evil}@x.example` });
  const { deployment } = await world(ready);
  expect(deployment?.metadata?.annotations?.['mesh.odoo/customer-id']).toBe(request.data.customerId);
  expect(JSON.stringify(deployment?.spec)).not.toContain('reboot');
});

test.each([
  ['a NUL', { company: 'a\0b' }],
  ['a line break', { adminLogin: 'a\nb: c' }],
])('%s in a text is not accepted', async (_, data) => {
  const request = mesh.request('control', data);
  await mesh.publish(request);
  await waitFor('the parked message', async () => {
    const rows = await mesh.sql(
      `SELECT 1 FROM api_gateway.parked_message WHERE reason = 'broken-data' AND position($1::bytea in body) > 0`,
      [Buffer.from(request.id)],
    );
    return rows.length > 0;
  });
});

test('a name that is taken on the shard is left alone, told as a failure, and a retry goes on when it is mended', async () => {
  await mesh.services.kill('provisioner');
  const request = mesh.request('mended');
  const { instanceId } = request.data;
  await mesh.publish(request);
  const placed = await waitFor('it to be placed', () => mesh.said('instance.placed.v1', instanceId)[0]);
  const name = `${mesh.name}_o${placed.envelope.data.footprintId.replaceAll('-', '')}`;
  await mesh.sql(`CREATE ROLE ${name} LOGIN`);
  await mesh.services.start('provisioner');
  const failed = await waitFor('the failure', () => mesh.said('instance.provisioning-failed.v1', instanceId)[0]);
  expect(failed.envelope.data).toMatchObject({ code: 'FOREIGN_ROLE', fault: 'platform' });
  await waitFor('the read model to say so', async () => {
    const { body } = await mesh.api(`/v1/instances/${instanceId}`);
    return body.state === 'failed' && body.reason === 'FOREIGN_ROLE';
  });
  const metrics = await (await fetch(`${mesh.services.url('provisioner')}/metrics`)).text();
  expect(metrics).toContain('mesh_provisioning_outcomes_total{outcome="failed",fault="platform"} 1');

  await mesh.sql(`DROP ROLE ${name}`);
  const { specversion, source } = request;
  const type = 'mesh.instance.provision-retry-requested.v1';
  const retry = { specversion, id: newId(), source, type, data: { instanceId, reason: 'the role was removed' } };
  await mesh.publish(retry, { key: 'instance.provision-retry-requested.v1' });
  await mesh.ready(instanceId);
});

test('ten at once are all Ready on ten hosts with ten databases', async () => {
  const requests = Array.from({ length: 10 }, (_, i) => mesh.request(`many-${i}`));
  await Promise.all(requests.map((request) => mesh.publish(request)));
  const ready = await Promise.all(requests.map((request) => mesh.ready(request.data.instanceId)));
  expect(new Set(ready.map((one) => one.host)).size).toBe(10);
  expect(new Set(ready.map((one) => one.database)).size).toBe(10);
  expect(new Set(ready.map((one) => one.uuid)).size).toBe(10);
});

test('the API makes an instance, gives the password once, and knows the taken name', async () => {
  const wish = {
    slug: 'by-api',
    customerId: 'c-7',
    plan: 'starter',
    odooVersion: '18.0',
    company: 'API Ltd',
    adminLogin: 'me@api.example',
  };
  const accepted = await mesh.api('/v1/instances', { method: 'POST', body: wish });
  expect(accepted.status).toBe(202);
  const ready = await mesh.ready(accepted.body.instanceId);
  await waitFor('the read model', async () => {
    const { body } = await mesh.api(`/v1/instances/${accepted.body.instanceId}`);
    return body.state === 'running' && body.url === ready.url;
  });
  expect(JSON.stringify(mesh.heard)).not.toContain(accepted.body.adminPassword);
  expect((await mesh.api('/v1/instances', { method: 'POST', body: wish })).status).toBe(409);
  const list = await mesh.api('/v1/instances?customerId=c-7');
  expect(list.body.items.map((one: { slug: string }) => one.slug)).toEqual(['by-api']);
});

test.each([
  ['no key', '/v1/instances', { key: '' }, 401],
  ['a wrong key', '/v1/instances', { key: 'guess' }, 401],
  ['an instance nobody knows', `/v1/instances/${newId()}`, {}, 404],
  ['an id that is none', `/v1/instances/7'%20OR%201=1`, {}, 400],
  ['a field nobody knows', '/v1/instances', { method: 'POST', body: { slug: 'x', admin: true } }, 400],
  ['a filter nobody knows', '/v1/instances?colour=red', {}, 400],
])('with %s the API answers a problem that says what to do next', async (_, path, init, status) => {
  const answer = await mesh.api(path, init);
  expect(answer.status).toBe(status);
  expect(answer.type).toContain('application/problem+json');
  expect(answer.body).toMatchObject({ status, code: expect.any(String), next: expect.any(String), fault: 'user' });
});

test('a wish for a template that was not heard of yet waits for it instead of being refused', async () => {
  const tell = (language: string) =>
    mesh.publish(
      {
        specversion: '1.0',
        id: newId(),
        source: 'provisioner',
        type: 'mesh.template.published.v1',
        time: new Date().toISOString(),
        subject: `local/${language}`,
        sequence: Date.now(),
        data: {
          template: { image: 'registry.local/odoo:18.0', version: '18.0', bundle: 'apps', language, database: 'later' },
          databaseShard: 'local',
          madeAt: new Date().toISOString(),
          catalogue: 4,
        },
      },
      { key: 'template.published.v1', as: 'provisioner' },
    );
  await tell('sv_SE');
  const known = () => mesh.sql(`SELECT 1 FROM capacity_planner.template WHERE language = 'sv_SE'`);
  await waitFor('three of four templates to be known', async () => (await known()).length === 1);

  const request = mesh.request('patient', { language: 'nb_NO' });
  await mesh.publish(request);
  const { instanceId } = request.data;
  const deferred = await waitFor('it to wait', () => mesh.said('instance.placement-deferred.v1', instanceId)[0]);
  expect(deferred.envelope.data.reason).toBe('NoTemplate');
  await tell('nb_NO');
  await waitFor('its place', () => mesh.said('instance.placed.v1', instanceId)[0]);
});
