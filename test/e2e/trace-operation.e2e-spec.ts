import { readFileSync } from 'node:fs';
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import type { V1Secret } from '@kubernetes/client-node';
import { newId } from '#contracts/index.js';
import type { KubernetesObject } from '#kubernetes/index.js';
import { type Program, programs, schemaName } from '#local/mesh-install.js';
import { readTrace, type TraceSpan } from '#local/trace.js';
import { completed, frame, type Sign, statement } from '#testing/process-kit.js';
import { waitFor } from '#testing/wait-for.js';
import { seen } from '../reliability/fixtures/points.js';
import { ServiceProxies } from '../reliability/fixtures/service-proxies.js';
import { stackEnvironment } from './config.js';
import { TestMesh, withoutBackup } from './test-mesh.js';

const steps = ['secret', 'volume', 'role', 'database', 'tenant', 'workload'];
const callersSpan = '00f067aa0ba902b7';
/** More, and nobody reads it. */
const mostSpans = 110;

let mesh: TestMesh;

beforeAll(async () => {
  mesh = await TestMesh.start({ traced: true, jobLease: '2s' });
});
afterAll(() => mesh?.stop());

/** What happened to one request, as Jaeger has it. */
interface Operation {
  readonly traceId: string;
  readonly instanceId: string;
  readonly operationId: string;
  readonly customerId: string;
  /** The span of a caller, which is not ours to export. */
  readonly caller?: string;
  /** Nobody was killed: then no span is missing. */
  readonly peaceful?: boolean;
}

function key({ attributes }: TraceSpan): unknown {
  return attributes['messaging.rabbitmq.destination.routing_key'];
}

function named(spans: readonly TraceSpan[], name: string): TraceSpan[] {
  return spans.filter((span) => span.name === name);
}

/** The trace, once nothing is wrong with it. */
async function traceOf(operation: Operation): Promise<TraceSpan[]> {
  const { MESH_JAEGER_URL } = stackEnvironment();
  if (!MESH_JAEGER_URL) throw new Error('this test needs Jaeger: run it with npm test -- --lane e2e');
  return await waitFor(
    `the trace ${operation.traceId} to be whole`,
    async () => {
      const spans = await readTrace(MESH_JAEGER_URL, operation.traceId);
      return faultsOf(spans, operation).length === 0 ? spans : undefined;
    },
    { timeoutMs: 30_000, intervalMs: 200 },
  ).catch(async (error) => {
    const faults = faultsOf(await readTrace(MESH_JAEGER_URL, operation.traceId), operation);
    throw new Error(`${error.message.split(';')[0]}: ${faults.join('; ')}`);
  });
}

/** All that is wrong with a trace of an instance that became Ready. */
function faultsOf(spans: readonly TraceSpan[], operation: Operation): string[] {
  const ids = new Set(spans.map(({ spanId }) => spanId));
  const known = { 'instance.id': operation.instanceId, 'operation.id': operation.operationId };
  const wanted = Object.entries({ ...known, 'customer.id': operation.customerId });
  const heard = spans.filter((span) => span.name === 'process api-gateway.facts').map(key);
  const roots = spans.filter(({ parentId }) => parentId === undefined);
  return [
    ...spans
      .filter(({ parentId }) => parentId !== undefined && parentId !== operation.caller && !ids.has(parentId))
      .map(({ name, parentId }) => `nobody ever saw the parent ${parentId} of ${name}`),
    ...(roots.length === (operation.caller ? 0 : 1) ? [] : [`it has ${roots.length} beginnings`]),
    ...steps.filter((step) => named(spans, `step ${step}`).length === 0).map((step) => `the step ${step} is missing`),
    ...['instance.placed.v1', 'instance.provisioning-started.v1', 'instance.ready.v1']
      .filter((fact) => !heard.includes(fact))
      .map((fact) => `the gateway did not hear ${fact}`),
    ...spans.flatMap(({ name, attributes }) =>
      wanted
        .filter(([attribute, value]) => attributes[attribute] !== value)
        .map(([attribute]) => `${name} has ${attribute} ${attributes[attribute]}`),
    ),
    ...spans
      .filter(({ name }) => /[0-9a-f]{6}/.test(name))
      .map(({ name }) => `${name} is not a name but one of thousands`),
    ...(operation.peaceful ? unsent(spans, operation) : []),
    ...(spans.length > mostSpans ? [`it has ${spans.length} spans`] : []),
  ];
}

/** What was heard of ours, and no span says that it was sent. */
function unsent(spans: readonly TraceSpan[], { operationId }: Operation): string[] {
  const idOf = ({ attributes }: TraceSpan) => attributes['messaging.message.id'];
  const sent = new Set(named(spans, 'send mesh.events').map(idOf));
  return spans
    .filter((span) => span.name.startsWith('process ') && idOf(span) !== operationId && !sent.has(idOf(span)))
    .map((span) => `nobody sent the ${key(span)} that ${span.service} heard`);
}

/** All that the mesh keeps from others and its processes know. */
async function secretsOf(of: TestMesh, instanceId: string): Promise<string[]> {
  const environments = programs.map((program) => readFileSync(of.installed.environmentFile(program), 'utf8'));
  const passwords = environments.flatMap((text) =>
    [...text.matchAll(/:\/\/[^:/\s]+:([^@\s]+)@/g)].map(([, one]) => one!),
  );
  const { secret: name, namespace } = await of.ready(instanceId);
  const secret = await of.cluster.get<V1Secret & KubernetesObject>({ kind: 'Secret', name, namespace });
  const password = secret!.data!['database-password']!;
  return [
    of.installed.apiKey,
    ...passwords,
    password,
    Buffer.from(password, 'base64').toString(),
    '$pbkdf2',
    'SCRAM-SHA-256',
  ];
}

function leaks(spans: readonly TraceSpan[], secrets: readonly string[]): string[] {
  const text = JSON.stringify(spans);
  return secrets.filter((secret) => text.includes(secret));
}

test('an instance asked for over the API is one trace, from the request to Ready', async () => {
  const response = await fetch(`${mesh.services.url('api-gateway')}/v1/instances`, {
    method: 'POST',
    headers: { authorization: `Bearer ${mesh.installed.apiKey}`, 'content-type': 'application/json' },
    body: JSON.stringify({
      slug: 'traced-api',
      customerId: 'c-7',
      plan: 'business',
      odooVersion: '18.0',
      company: 'ACME Ltd',
      adminLogin: 'owner@acme.example',
    }),
  });
  const traceId = response.headers.get('trace-id')!;
  const { instanceId, operationId, adminPassword } = (await response.json()) as Record<string, string>;
  const asked = { traceId, instanceId: instanceId!, operationId: operationId!, customerId: 'c-7' };
  const spans = await traceOf({ ...asked, peaceful: true });

  const [request] = named(spans, 'POST /v1/instances');
  expect(request!.attributes).toMatchObject({ 'http.route': '/v1/instances', 'http.response.status_code': 202 });
  expect(spans.find(({ parentId }) => parentId === undefined)!.name).toBe('receive POST /v1/instances');
  expect(new Set(spans.map(({ service }) => service))).toEqual(new Set(withoutBackup));
  const said = named(spans, 'send mesh.events').map(key);
  for (const fact of ['instance.requested.v1', 'instance.placed.v1', 'instance.ready.v1']) expect(said).toContain(fact);
  expect(leaks(spans, [...(await secretsOf(mesh, instanceId!)), adminPassword!])).toEqual([]);

  const { body } = await mesh.api(`/v1/operations/${operationId}`);
  expect(body.traceId).toBe(traceId);
  const { body: timeline } = await mesh.api(`/v1/instances/${instanceId}/timeline`);
  expect(new Set(timeline.items.map((one: { traceId: string }) => one.traceId))).toEqual(new Set([traceId]));
  const { body: explained } = await mesh.api(`/v1/instances/${instanceId}/explain`);
  expect(explained.traceId).toBe(traceId);
  console.log(`${spans.length} spans for a provisioning over the API`);
});

test('a request of a caller who traces hangs of the caller’s span', async () => {
  const traceId = newId().replaceAll('-', '');
  const request = mesh.request('traced-amqp', {}, { traceparent: `00-${traceId}-${callersSpan}-01` });
  await mesh.publish(request);
  const { instanceId, customerId } = request.data;
  const spans = await traceOf({
    traceId,
    instanceId,
    customerId,
    operationId: request.id,
    caller: callersSpan,
    peaceful: true,
  });
  const [process] = named(spans, 'process capacity-planner.requests');
  expect(process!.parentId).toBe(callersSpan);
  expect(process!.attributes).toMatchObject({
    'messaging.system': 'rabbitmq',
    'messaging.operation.name': 'process',
    'messaging.operation.type': 'process',
    'messaging.destination.name': 'mesh.events:instance.requested.v1:capacity-planner.requests',
    'messaging.rabbitmq.destination.routing_key': 'instance.requested.v1',
    'messaging.message.id': request.id,
    'messaging.message.conversation_id': request.id,
    'mesh.attempt': 1,
  });
  expect(leaks(spans, await secretsOf(mesh, instanceId))).toEqual([]);
});

test('a caller who does not want the trace to be kept is obeyed', async () => {
  const unwanted = newId().replaceAll('-', '');
  const request = mesh.request('untraced', {}, { traceparent: `00-${unwanted}-${callersSpan}-00` });
  await mesh.publish(request);
  await mesh.ready(request.data.instanceId);
  const [ready] = mesh.said('instance.ready.v1', request.data.instanceId);
  expect(ready!.envelope.traceparent).toBe(`00-${unwanted}-${callersSpan}-00`);

  // What came after it is there; so would be what came before.
  const traceId = newId().replaceAll('-', '');
  const next = mesh.request('traced-next', {}, { traceparent: `00-${traceId}-${callersSpan}-01` });
  await mesh.publish(next);
  const { instanceId, customerId } = next.data;
  await traceOf({ traceId, instanceId, customerId, operationId: next.id, caller: callersSpan });
  expect(await readTrace(stackEnvironment().MESH_JAEGER_URL!, unwanted)).toEqual([]);
});

test('spans have few names, and health, metrics and what is only looked at again and again have none', async () => {
  const { MESH_JAEGER_URL } = stackEnvironment();
  const names = await Promise.all(
    programs.map(async (program) => {
      const response = await fetch(`${MESH_JAEGER_URL}/api/v3/operations?service=${program}`);
      return ((await response.json()) as { operations: { name: string }[] }).operations.map(({ name }) => name);
    }),
  );
  const known = [
    /^(receive|process) [a-z-]+\.(requests|facts)$/,
    /^(create|send) mesh\.(events|republish)$/,
    /^(receive )?(GET|POST) \/v1\/[a-zI{}/:-]+$/,
    /^reconcile (footprint|cell|instance|backup|proof|restore|snapshots)$/,
    /^(step|remove) [a-z]+$/,
    /^(up|down|fit|fence|copy|update|tidy|address|route|switch): [a-z ]+$/,
    /^(dump|write|fill|compare|neutralise|open): [a-z]+$/,
    /^(look|place waiting)$/,
    /^(create|apply|patch|delete) [A-Z][A-Za-z]+$/,
  ];
  const flat = names.flat();
  expect(flat.length).toBeGreaterThan(15);
  expect(flat.filter((name) => !known.some((pattern) => pattern.test(name)))).toEqual([]);
});

/** A request without a trace, until it is Ready and its trace whole; meanwhile `spoil` does what it likes. */
async function operate(slug: string, spoil: (publish: () => Promise<void>) => Promise<void>): Promise<TraceSpan[]> {
  const request = mesh.request(slug);
  const { instanceId, customerId } = request.data;
  await spoil(() => mesh.publish(request));
  await mesh.ready(instanceId);
  const [ready] = mesh.said('instance.ready.v1', instanceId);
  const traceId = ready!.envelope.traceparent!.split('-')[1]!;
  return await traceOf({ traceId, instanceId, customerId, operationId: request.id });
}

test.each<[string, Program, string, string, string]>([
  ['a request that came without a trace', 'capacity-planner', 'host_name', 'requests', 'instance.requested.v1'],
  ['a fact', 'provisioner', 'footprint', 'facts', 'instance.placed.v1'],
])('%s that fails and comes again is a span for each try, side by side', async (_, service, table, queue, about) => {
  const schema = schemaName(service);
  const spans = await operate(`tried-${table.replace('_', '-')}`, async (publish) => {
    await mesh.sql(`ALTER TABLE ${schema}.${table} RENAME TO hidden`);
    await publish();
    await waitFor('the second delivery to fail', () =>
      /"attempt":2.*message failed/.test(readFileSync(mesh.services.logFile(service), 'utf8')),
    );
    await mesh.sql(`ALTER TABLE ${schema}.hidden RENAME TO ${table}`);
  });
  const tries = named(spans, `process ${service}.${queue}`).filter((span) => key(span) === about);
  expect(new Set(tries.map(({ parentId }) => parentId)).size).toBe(1);
  const counted = tries.map(({ attributes }) => [attributes['mesh.attempt'], attributes['mesh.try'] ?? 1]);
  for (const one of [
    [1, 1],
    [1, 2],
    [1, 3],
    [2, 1],
  ])
    expect(counted).toContainEqual(one);
  const failed = tries.filter(({ error }) => error);
  for (const one of failed)
    expect(one).toMatchObject({ error: expect.stringContaining(table), attributes: { 'error.type': '42P01' } });
  // A fact that is said again meanwhile, because the service has just started, comes twice and is handled once.
  const verdicts = tries.filter(({ error }) => !error).map(({ attributes }) => attributes['mesh.verdict']);
  expect(failed.length).toBeGreaterThanOrEqual(4);
  expect(verdicts.filter((verdict) => verdict !== 'duplicate')).toEqual(['handled']);
});

test.each<[string, string, Program, (proxies: ServiceProxies) => readonly Sign[]]>([
  [
    'the planner, which has just acknowledged the message with which the trace began',
    'killed-planner',
    'capacity-planner',
    ({ database, broker }) => [
      statement(database, 'INSERT INTO host_name'),
      completed(database, 'COMMIT'),
      frame(broker, 'basic.ack'),
    ],
  ],
  [
    'the provisioner, in the middle of its steps',
    'killed-in-a-step',
    'provisioner',
    ({ shard }) => [statement(shard!, 'CREATE DATABASE')],
  ],
  [
    'the provisioner, which has just committed that a step is done',
    'killed-after-a-step',
    'provisioner',
    ({ database }) => [statement(database, 'step":"volume'), completed(database, 'COMMIT')],
  ],
])('one trace without gaps comes of it when SIGKILL ends %s', async (_, slug, service, signs) => {
  await mesh.services.stop(service);
  const proxies = await ServiceProxies.before(mesh, service);
  try {
    const spans = await operate(slug, async (publish) => {
      await mesh.services.start(service);
      let killed: Promise<void> | undefined;
      void seen(() => signs(proxies))(() => {
        killed = mesh.services.kill(service);
      });
      await publish();
      await waitFor('the moment of the kill', () => killed !== undefined, { timeoutMs: 60_000 });
      await killed;
      await mesh.services.start(service);
    });
    // Both lives of it are in the trace.
    expect(new Set(spans.filter((span) => span.service === service).map(({ process }) => process)).size).toBe(2);
    expect(new Set(spans.map(({ traceId }) => traceId)).size).toBe(1);
  } finally {
    proxies.leaveOut();
    await mesh.services.stop(service);
    await proxies.close();
    await mesh.services.start(service);
  }
});
