import { afterAll, beforeAll, expect, test } from '@jest/globals';
import type { V1Deployment } from '@kubernetes/client-node';
import type { KubernetesObject } from '#kubernetes/index.js';
import type { ProxiedRequest } from '#testing/http-fault-proxy.js';
import { completed, frame, statement } from '#testing/process-kit.js';
import { waitFor } from '#testing/wait-for.js';
import { longForm } from '../e2e/config.js';
import { FootprintsBeside } from '../e2e/footprints-beside.js';
import { Lifecycle } from '../e2e/lifecycle.js';
import { TestMesh } from '../e2e/test-mesh.js';
import { type Footprint, logsIn, passwordIn, worldOf, worldWhen } from './fixtures/lifecycle-world.js';
import { called, type Point, seen } from './fixtures/points.js';
import { ServiceProxies } from './fixtures/service-proxies.js';

let mesh: TestMesh;
let lifecycle: Lifecycle;
let proxies: ServiceProxies;
let footprints: FootprintsBeside;
/** One for each point, by its name. */
const made = new Map<string, Ready>();

type Ready = Footprint & { readonly secret: string };
type NamedPoint = readonly [operation: keyof typeof operations, name: string, form: 'short' | 'long', reached: Point];

const onCluster = (moment: 'asked' | 'answered', method: string, resource: string) =>
  [`${method} ${resource} ${moment}`, called(() => proxies.cluster, moment, method, resource)] as const;
const onShard = (text: string) => [`shard: ${text}`, seen(() => [statement(proxies.shard!, text)])] as const;
const inDatabase = (...texts: string[]) =>
  [`database: ${texts.join(', ')}`, seen(() => texts.map((text) => statement(proxies.database, text)))] as const;
const afterCommit = (text: string) =>
  [
    `database: ${text}, committed`,
    seen(() => [statement(proxies.database, text), completed(proxies.database, 'COMMIT')]),
  ] as const;
const onBroker = (method: Parameters<typeof frame>[1], direction: 'up' | 'down') =>
  [`broker: ${method} ${direction}`, seen(() => [frame(proxies.broker, method, direction)])] as const;

const row = (
  operation: keyof typeof operations,
  [name, reached]: readonly [string, Point],
  form: 'short' | 'long' = 'long',
): NamedPoint => [operation, name, form, reached];

const operationRow = 'INSERT INTO "lifecycle"."operation"';
const instanceRow = 'INSERT INTO "lifecycle"."instance"';

/** What is asked, what has to be so before and after, and how it is answered. */
const operations = {
  stop: { ask: 'stop', fact: 'stopped', state: 'stopped' },
  start: { before: 'stop', ask: 'start', fact: 'started', state: 'running' },
  resize: { ask: 'resize', with: { plan: 'business' }, fact: 'resized', state: 'running' },
  quiesce: { ask: 'quiesce', fact: 'quiesced', state: 'maintenance' },
  release: { before: 'quiesce', ask: 'release', fact: 'released', state: 'running' },
  switch: { before: 'quiesce', ask: 'release', fact: 'released', state: 'running' },
  'switch back': { ask: 'switch-back', fact: 'switched-back', state: 'running' },
  terminate: { ask: 'termination', fact: 'termination-scheduled', state: 'terminating' },
} as const;

/** In the order of each. The short form takes those after which most is half done. */
const points: readonly NamedPoint[] = [
  row('stop', onBroker('basic.deliver', 'down')),
  row('stop', inDatabase('INSERT INTO inbox', operationRow)),
  row('stop', afterCommit(operationRow)),
  row('stop', onBroker('basic.ack', 'up')),
  row('stop', inDatabase('UPDATE job SET lease_holder')),
  row('stop', afterCommit(instanceRow)),
  row('stop', onCluster('asked', 'PATCH', 'ingressroutes')),
  row('stop', onCluster('answered', 'PATCH', 'ingressroutes')),
  row('stop', onCluster('asked', 'PATCH', 'deployments')),
  row('stop', onCluster('answered', 'PATCH', 'deployments'), 'short'),
  row('stop', inDatabase('DELETE FROM job')),
  row('start', afterCommit(operationRow)),
  row('start', onCluster('asked', 'PATCH', 'deployments')),
  row('start', onCluster('answered', 'PATCH', 'deployments'), 'short'),
  row('start', onCluster('asked', 'PATCH', 'ingressroutes')),
  row('start', onCluster('answered', 'PATCH', 'ingressroutes')),
  row('start', onBroker('basic.publish', 'up')),
  row('resize', onBroker('basic.publish', 'up')),
  row('resize', onBroker('basic.deliver', 'down')),
  row('resize', onShard('CONNECTION LIMIT')),
  row('resize', onCluster('asked', 'POST', 'secrets')),
  row('resize', onCluster('answered', 'POST', 'secrets'), 'short'),
  row('resize', onCluster('answered', 'PATCH', 'persistentvolumeclaims')),
  row('resize', onCluster('answered', 'PATCH', 'deployments')),
  row('quiesce', onCluster('answered', 'PATCH', 'deployments')),
  row('quiesce', onCluster('asked', 'POST', 'secrets')),
  row('quiesce', onCluster('answered', 'POST', 'secrets')),
  row('quiesce', onShard('PASSWORD'), 'short'),
  row('quiesce', onShard('pg_terminate_backend')),
  row('release', afterCommit(instanceRow)),
  row('release', onCluster('answered', 'PATCH', 'deployments'), 'short'),
  row('release', onCluster('answered', 'PATCH', 'ingressroutes')),
  row('switch', afterCommit(instanceRow)),
  row('switch', onShard('CONNECTION LIMIT')),
  row('switch', onCluster('answered', 'PATCH', 'services')),
  row('switch', onShard('ir_config_parameter')),
  row('switch', onCluster('answered', 'PATCH', 'ingressroutes')),
  row('switch', onCluster('asked', 'DELETE', 'ingressroutes')),
  row('switch', onCluster('answered', 'DELETE', 'ingressroutes'), 'short'),
  row('switch', onCluster('answered', 'PATCH', 'deployments')),
  row('switch', onBroker('basic.publish', 'up')),
  row('switch back', onCluster('answered', 'PATCH', 'deployments')),
  row('switch back', onShard('PASSWORD')),
  row('switch back', onCluster('answered', 'DELETE', 'ingressroutes')),
  row('terminate', afterCommit(instanceRow)),
  row('terminate', onCluster('answered', 'PATCH', 'ingressroutes')),
  row('terminate', onCluster('answered', 'PATCH', 'deployments'), 'short'),
  row('terminate', onBroker('basic.publish', 'up')),
];
const taken = points.filter(([, , form]) => longForm() || form === 'short');

async function running(slug: string): Promise<Ready> {
  const request = mesh.request(slug, { plan: 'starter' });
  await mesh.publish(request);
  const ready = await mesh.ready(request.data.instanceId, 120_000);
  await lifecycle.state(ready.instanceId, 'running');
  return ready;
}

beforeAll(async () => {
  mesh = await TestMesh.start({ jobLease: '2s', start: ['api-gateway', 'capacity-planner', 'provisioner'] });
  lifecycle = new Lifecycle(mesh);
  footprints = new FootprintsBeside(mesh);
  proxies = await ServiceProxies.before(mesh, 'lifecycle');
  await mesh.services.start('lifecycle');
  const names = [...taken.map(([operation, name]) => `${operation} ${name}`), ...overtakings.map(([, half]) => half)];
  await Promise.all(
    names.map(async (name, at) => {
      made.set(name, await running(`kill-${at}`));
    }),
  );
});
afterAll(async () => {
  await footprints?.close();
  await mesh?.stop();
  await proxies?.close();
});

const inAnHour = () => new Date(Date.now() + 3_600_000).toISOString();

async function switchTo({ instanceId }: Ready, footprintId: string): Promise<void> {
  const { token } = await lifecycle.do('quiesce', instanceId, details('quiesce'));
  expect(await lifecycle.do('release', instanceId, { token, footprintId })).toMatchObject({ fact: 'released' });
}

const footprintToLiveIn = (operation: string, old: { footprintId: string }, other: { footprintId: string }) => ({
  footprintId: (operation === 'switch' ? other : old).footprintId,
});

async function whatIsLeft({ namespace, volumeClaim: name }: { namespace: string; volumeClaim: string }) {
  const deployment = await mesh.cluster.get<V1Deployment & KubernetesObject>({ kind: 'Deployment', name, namespace });
  const routed = (await mesh.cluster.get({ kind: 'IngressRoute', name, namespace })) !== undefined;
  return { replicas: deployment?.spec?.replicas ?? 0, routed };
}

const details = (what: string) => (what === 'quiesce' ? { purpose: 'restore', deadline: inAnHour() } : {});

test.each(taken)('%s, killed at %s, comes to its end as if nobody had died', async (operation, name, _, reached) => {
  const ready = made.get(`${operation} ${name}`)!;
  const { instanceId } = ready;
  const { ask, fact, state, ...more } = operations[operation];
  const other = operation.startsWith('switch') ? await footprints.make(ready) : undefined;
  if (operation === 'switch back') await switchTo(ready, other!.footprintId);
  const before = 'before' in more ? await lifecycle.do(more.before, instanceId, details(more.before)) : undefined;
  const old = await passwordIn(mesh, ready.namespace, lifecycle.stateOf(instanceId)!.secret);

  let killed: Promise<void> | undefined;
  let there = false;
  void reached(() => {
    killed = mesh.services.kill('lifecycle');
  }).then(() => {
    there = true;
  });
  const request = {
    ...details(ask),
    ...('with' in more && more.with),
    ...(before?.token && { token: before.token }),
    ...(other && footprintToLiveIn(operation, ready, other)),
  };
  const operationId = await lifecycle.ask(ask, instanceId, request);
  await waitFor(`lifecycle to come to: ${name}`, () => there, { timeoutMs: 30_000, intervalMs: 5 });
  await killed;
  await mesh.services.start('lifecycle');

  expect(await lifecycle.answerTo(operationId)).toMatchObject({ fact });
  const said = await lifecycle.state(instanceId, state);
  const [live, left] = operation === 'switch' ? [other!, ready] : [ready, other];
  expect(await worldOf(mesh, { ...ready, ...live }, said.secret)).toMatchObject(worldWhen(state));
  if (left) expect(await whatIsLeft(left)).toEqual({ replicas: 0, routed: false });
  if (operation === 'resize') expect(said.plan).toMatchObject({ name: 'business' });
  if (operation === 'quiesce') expect(await logsIn(ready, old!)).toBe(false);
});

/** What is asked before, what is half done, who overtakes it, and what is so at the end. */
const overtakings = [
  ['stop', 'start', 'stop', 'stopped'],
  ['suspend', 'resume', 'suspend', 'suspended'],
  ['termination', 'termination-cancel', 'termination', 'terminating'],
] as const;

test.each(overtakings)(
  'after %s, %s is overtaken by %s when its pod is there already: that does not stay',
  async (before, half, by, state) => {
    const ready = made.get(half)!;
    const { instanceId } = ready;
    const why = { why: 'unpaid' };
    const answer = await lifecycle.do(before, instanceId, why);
    let there = false;
    void called(
      () => proxies.cluster,
      'answered',
      'PATCH',
      'deployments',
    )(() => {}).then(() => {
      there = true;
    });
    // Nobody sees that its pod is ready before it is overtaken.
    let accepted = false;
    const looks = ({ method, path }: ProxiedRequest) => method === 'GET' && /\/(deployments|pods)\b/.test(path);
    proxies.cluster.fail(Number.POSITIVE_INFINITY, (request) => there && !accepted && looks(request), { status: 503 });
    const first = await lifecycle.ask(half, instanceId);
    await waitFor(`the Deployment of ${half}`, () => there, { timeoutMs: 30_000, intervalMs: 5 });
    const second = await lifecycle.ask(by, instanceId, why);
    await waitFor('it to be accepted', async () => {
      const rows = await mesh.sql('SELECT 1 FROM lifecycle.operation WHERE operation_id = $1', [second]);
      return rows.length > 0;
    });
    accepted = true;
    const last = await lifecycle.answerTo(second);
    expect(await lifecycle.answerTo(first)).toMatchObject({ fact: 'operation-failed', code: 'OVERTAKEN' });
    const said = await lifecycle.state(instanceId, state);
    expect(await worldOf(mesh, ready, said.secret)).toMatchObject(worldWhen(state));
    // What ran meanwhile is not in the backup of before.
    if (by === 'termination') expect(last.finalBackupId).not.toBe(answer.finalBackupId);
  },
);

test('after all of these deaths each operation has one answer, none is open, and nothing is parked', async () => {
  for (const { instanceId } of made.values()) {
    const answers = lifecycle.answersOf(instanceId).map(({ envelope }) => envelope);
    const facts = new Map(answers.map(({ id, data }) => [id, data.operationId]));
    expect([...facts.values()].sort()).toEqual([...new Set(facts.values())].sort());
  }
  expect(await mesh.sql(`SELECT kind FROM lifecycle.operation WHERE status <> 'ended'`)).toEqual([]);
  expect(await mesh.sql('SELECT type, reason, error FROM api_gateway.parked_message')).toEqual([]);
});
