import { afterAll, beforeAll, expect, test } from '@jest/globals';
import type { Program } from '#local/mesh-install.js';
import { completed, frame, statement } from '#testing/process-kit.js';
import { waitFor } from '#testing/wait-for.js';
import { longForm } from '../e2e/config.js';
import { TestMesh } from '../e2e/test-mesh.js';
import { called, type Point, seen } from './fixtures/points.js';
import { ServiceProxies } from './fixtures/service-proxies.js';

let mesh: TestMesh;
let planner: ServiceProxies;
let provisioner: ServiceProxies;

beforeAll(async () => {
  mesh = await TestMesh.start({ jobLease: '2s', start: ['api-gateway'], spares: 'business/18.0/apps/en_US=2' });
  [planner, provisioner] = await Promise.all([
    ServiceProxies.before(mesh, 'capacity-planner'),
    ServiceProxies.before(mesh, 'provisioner'),
  ]);
  await mesh.services.startAll(['capacity-planner', 'provisioner']);
  const first = mesh.request('first');
  await mesh.publish(first);
  await mesh.ready(first.data.instanceId);
});
afterAll(async () => {
  await mesh?.stop();
  await Promise.all([planner?.close(), provisioner?.close()]);
});

type NamedPoint = readonly [name: string, who: Program, form: 'short' | 'long', reached: () => Point];

/** In the order of a claim. */
const points: readonly NamedPoint[] = [
  [
    'it is chosen',
    'capacity-planner',
    'short',
    () => seen(() => [statement(planner.database, 'UPDATE spare SET state')]),
  ],
  [
    'it is claimed',
    'capacity-planner',
    'short',
    () => seen(() => [statement(planner.database, 'UPDATE spare SET state'), completed(planner.database, 'COMMIT')]),
  ],
  ['the claim is told', 'capacity-planner', 'long', () => seen(() => [frame(planner.broker, 'basic.publish', 'up')])],
  [
    'the claim is heard',
    'provisioner',
    'long',
    () => seen(() => [statement(provisioner.database, 'INSERT INTO "provisioner"."footprint"')]),
  ],
  [
    'the customer is written',
    'provisioner',
    'long',
    () => seen(() => [statement(provisioner.shard!, 'UPDATE res_users')]),
  ],
  [
    'the customer is committed',
    'provisioner',
    'short',
    () =>
      seen(() => [
        statement(provisioner.shard!, 'DELETE FROM res_device_log'),
        completed(provisioner.shard!, 'COMMIT'),
      ]),
  ],
  [
    'the caches are told',
    'provisioner',
    'short',
    () => seen(() => [statement(provisioner.shard!, 'base_cache_signaling_default')]),
  ],
  ['it is marked', 'provisioner', 'long', () => seen(() => [statement(provisioner.shard!, '"state":"personal"')])],
  [
    'its route is asked for',
    'provisioner',
    'short',
    () => called(() => provisioner.cluster, 'asked', 'PATCH', 'ingressroutes'),
  ],
  [
    'its route is there',
    'provisioner',
    'short',
    () => called(() => provisioner.cluster, 'answered', 'PATCH', 'ingressroutes'),
  ],
  ['its pod is labelled', 'provisioner', 'long', () => called(() => provisioner.cluster, 'answered', 'PATCH', 'pods')],
];

interface SpareRow {
  readonly footprint_id: string;
  readonly state: string;
  readonly claimed_by: string | null;
}
const pool = () => mesh.sql<SpareRow>('SELECT footprint_id, state, claimed_by FROM capacity_planner.spare');

test('a claim is never lost and never done twice, wherever a service dies in the middle of it', async () => {
  const taken = points.filter(([, , form]) => longForm() || form === 'short');
  const instances: string[] = [];
  for (const [name, service, , reached] of taken) {
    const enough = async () => (await pool()).filter(({ state }) => state === 'ready').length >= 1;
    await mesh.explained(waitFor('a spare at hand', enough, { timeoutMs: 60_000 }));
    let killed: Promise<void> | undefined;
    let there = false;
    void reached()(() => {
      killed = mesh.services.kill(service);
    }).then(() => {
      there = true;
    });
    const request = mesh.request(`claim-${instances.length}`);
    instances.push(request.data.instanceId);
    await mesh.publish(request);
    await waitFor(`${service} to come to: ${name}`, () => there, { timeoutMs: 60_000, intervalMs: 5 });
    await killed;
    await mesh.services.start(service);
    await mesh.ready(request.data.instanceId);
  }

  const rows = await pool();
  const claims = rows.filter(({ state }) => state === 'claimed');
  expect(claims.map(({ claimed_by }) => claimed_by)).toEqual(expect.arrayContaining(instances));
  expect(new Set(claims.map(({ footprint_id }) => footprint_id)).size).toBe(claims.length);
  for (const { footprint_id, claimed_by } of claims) {
    const [ready, ...more] = mesh.said('instance.ready.v1', claimed_by!).map(({ envelope }) => envelope.data);
    expect(more.filter(({ footprintId }) => footprintId !== footprint_id)).toEqual([]);
    expect(ready).toMatchObject({ footprintId: footprint_id, claim: 'spare' });
    // A running Odoo was told after the customer's secrets were committed, or it would go on with the template's.
    const [database] = await mesh.sql<{ moved: boolean; uuid: string }>(
      `SELECT (SELECT last_value FROM base_cache_signaling_default) > 1 AS moved,
         (SELECT value FROM ir_config_parameter WHERE key = 'database.uuid') AS uuid`,
      [],
      ready.database,
    );
    expect(database).toEqual({ moved: true, uuid: ready.uuid });
    // By these an operator finds what is a customer's.
    const { namespace, secret, volumeClaim } = ready;
    const pods = await mesh.cluster.list('Pod', namespace, `mesh.odoo/footprint=${footprint_id}`);
    const objects = [
      await mesh.cluster.get({ kind: 'Secret', namespace, name: secret }),
      await mesh.cluster.get({ kind: 'PersistentVolumeClaim', namespace, name: volumeClaim }),
      await mesh.cluster.get({ kind: 'Deployment', namespace, name: volumeClaim }),
      ...pods,
    ];
    for (const object of objects) expect(object?.metadata?.labels).toMatchObject({ 'instance-id': claimed_by });
  }
});
