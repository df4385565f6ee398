import { afterAll, beforeAll, expect, test } from '@jest/globals';
import type { Program } from '#local/mesh-install.js';
import { completed, frame, statement } from '#testing/process-kit.js';
import { waitFor } from '#testing/wait-for.js';
import { longForm } from '../e2e/config.js';
import { TestMesh } from '../e2e/test-mesh.js';
import { allReady, ledger } from './fixtures/mesh-ledger.js';
import { called, type Point, seen } from './fixtures/points.js';
import { ServiceProxies } from './fixtures/service-proxies.js';

let mesh: TestMesh;
let planner: ServiceProxies;
let provisioner: ServiceProxies;

beforeAll(async () => {
  mesh = await TestMesh.start({ jobLease: '2s', start: ['api-gateway'] });
  [planner, provisioner] = await Promise.all([
    ServiceProxies.before(mesh, 'capacity-planner'),
    ServiceProxies.before(mesh, 'provisioner'),
  ]);
  await mesh.services.startAll(['capacity-planner', 'provisioner']);
});
afterAll(async () => {
  await mesh?.stop();
  await Promise.all([planner?.close(), provisioner?.close()]);
});

type NamedPoint = readonly [name: string, reached: Point];

const onCluster = (moment: 'asked' | 'answered', method: string, resource: string): NamedPoint => [
  `${method} ${resource} ${moment}`,
  called(() => provisioner.cluster, moment, method, resource),
];
const onShard = (text: string): NamedPoint => [`shard: ${text}`, seen(() => [statement(provisioner.shard!, text)])];
const inDatabase = (of: () => ServiceProxies, ...texts: string[]): NamedPoint => [
  `database: ${texts.join(', ')}`,
  seen(() => texts.map((text) => statement(of().database, text))),
];
const afterCommit = (of: () => ServiceProxies, text: string): NamedPoint => [
  `database: ${text}, committed`,
  seen(() => [statement(of().database, text), completed(of().database, 'COMMIT')]),
];
const onBroker = (
  of: () => ServiceProxies,
  method: Parameters<typeof frame>[1],
  direction: 'up' | 'down',
): NamedPoint => [`broker: ${method} ${direction}`, seen(() => [frame(of().broker, method, direction)])];

/** In the order of a provisioning. The short form takes those that matter most. */
const plannerPoints: readonly (readonly [NamedPoint, 'short' | 'long'])[] = [
  [onBroker(() => planner, 'basic.deliver', 'down'), 'long'],
  [inDatabase(() => planner, 'INSERT INTO inbox'), 'long'],
  [inDatabase(() => planner, 'INSERT INTO host_name'), 'long'],
  [inDatabase(() => planner, 'INSERT INTO "capacity_planner"."placement"'), 'long'],
  [inDatabase(() => planner, 'UPDATE cell SET reserved'), 'long'],
  [inDatabase(() => planner, 'UPDATE database_shard'), 'long'],
  [inDatabase(() => planner, 'INSERT INTO outbox', 'COMMIT'), 'short'],
  [afterCommit(() => planner, 'INSERT INTO outbox'), 'short'],
  [inDatabase(() => planner, 'DELETE FROM outbox'), 'long'],
  [onBroker(() => planner, 'basic.publish', 'up'), 'short'],
  [onBroker(() => planner, 'basic.ack', 'up'), 'long'],
];
const provisionerPoints: readonly (readonly [NamedPoint, 'short' | 'long'])[] = [
  [onBroker(() => provisioner, 'basic.deliver', 'down'), 'long'],
  [inDatabase(() => provisioner, 'INSERT INTO "provisioner"."footprint"'), 'long'],
  [afterCommit(() => provisioner, 'INSERT INTO "provisioner"."footprint"'), 'long'],
  [onBroker(() => provisioner, 'basic.ack', 'up'), 'long'],
  [inDatabase(() => provisioner, 'UPDATE job SET lease_holder'), 'long'],
  [onCluster('asked', 'POST', 'secrets'), 'long'],
  [onCluster('answered', 'POST', 'secrets'), 'short'],
  [onCluster('asked', 'PATCH', 'persistentvolumeclaims'), 'long'],
  [onCluster('answered', 'PATCH', 'persistentvolumeclaims'), 'long'],
  [onShard('CREATE ROLE'), 'short'],
  [onShard('COMMENT ON ROLE'), 'long'],
  [onShard('CREATE DATABASE'), 'short'],
  [onShard('COMMENT ON DATABASE'), 'long'],
  [onShard('REVOKE ALL ON DATABASE'), 'long'],
  [onShard('ALLOW_CONNECTIONS true'), 'long'],
  [onShard('ALTER SCHEMA public OWNER'), 'short'],
  [onShard('INSERT INTO ir_config_parameter'), 'short'],
  [onShard('DELETE FROM res_device_log'), 'long'],
  [onCluster('asked', 'PATCH', 'deployments'), 'short'],
  [onCluster('answered', 'PATCH', 'deployments'), 'long'],
  [onCluster('answered', 'PATCH', 'ingressroutes'), 'long'],
  [inDatabase(() => provisioner, 'INSERT INTO outbox', 'COMMIT'), 'short'],
  [afterCommit(() => provisioner, 'INSERT INTO outbox'), 'long'],
  [inDatabase(() => provisioner, 'DELETE FROM job'), 'long'],
  [onBroker(() => provisioner, 'basic.publish', 'up'), 'short'],
];

const requests: ReturnType<TestMesh['request']>[] = [];

async function request(): Promise<void> {
  const one = mesh.request(`step-${requests.length}`);
  requests.push(one);
  await mesh.publish(one);
}

/** Each point once, fed with new requests, so that there is somebody to come to it. */
async function killAtEach(
  service: Program,
  points: readonly (readonly [NamedPoint, 'short' | 'long'])[],
  feed: number,
) {
  const taken = points.filter(([, form]) => longForm() || form === 'short');
  for (const [[name, reached]] of taken) {
    let killed: Promise<void> | undefined;
    let there = false;
    void reached(() => {
      killed = mesh.services.kill(service);
    }).then(() => {
      there = true;
    });
    for (let n = 0; n < feed; n++) await request();
    await waitFor(`${service} to come to: ${name}`, () => there, { timeoutMs: 60_000, intervalMs: 5 });
    await killed;
    await mesh.services.start(service);
  }
  return taken.length;
}

test('planner and provisioner are killed at every step of a crowd of provisionings: all Ready, none doubled', async () => {
  const begun = Date.now();
  const feed = longForm() ? 1 : 2;
  const kills = await Promise.all([
    killAtEach('capacity-planner', plannerPoints, feed),
    killAtEach('provisioner', provisionerPoints, feed),
  ]);
  while (requests.length < (longForm() ? 50 : 20)) await request();
  await Promise.all(requests.map((one) => mesh.ready(one.data.instanceId, 120_000)));
  expect(await ledger(mesh, requests)).toEqual(allReady(requests.length));
  const parked = await mesh.sql('SELECT reason, error FROM api_gateway.parked_message');
  expect(parked).toEqual([]);
  console.log(
    `${requests.length} provisionings, planner killed ${kills[0]} times and provisioner ${kills[1]}, ${Math.round((Date.now() - begun) / 1000)} s`,
  );
});
