import { afterAll, beforeAll, expect, test } from '@jest/globals';
import type { V1Deployment } from '@kubernetes/client-node';
import type { KubernetesObject } from '#kubernetes/index.js';
import type { Program } from '#local/mesh-install.js';
import { killProcess, startProcess } from '#local/processes.js';
import { waitFor } from '#testing/wait-for.js';
import { stackEnvironment } from '../e2e/config.js';
import { TestMesh } from '../e2e/test-mesh.js';

let mesh: TestMesh;

beforeAll(async () => {
  mesh = await TestMesh.start();
});
afterAll(() => mesh?.stop());

/** What the cluster and the databases say, compared with what was asked for. */
async function ledger(requests: readonly { data: { instanceId: string; slug: string } }[]) {
  const ids = requests.map((request) => request.data.instanceId);
  const facts = ids.map((id) => mesh.said('instance.ready.v1', id).map((one) => one.envelope));
  const footprints = await mesh.sql<{ instance_id: string; footprint_id: string; state: string }>(
    'SELECT instance_id, footprint_id, state FROM provisioner.footprint WHERE instance_id = ANY($1)',
    [ids],
  );
  const deployments = await mesh.cluster.list<V1Deployment & KubernetesObject>('Deployment', `${mesh.name}-c0`);
  const databases = await mesh.sql<{ name: string }>(
    `SELECT datname AS name FROM pg_database WHERE datname LIKE $1 AND NOT datistemplate`,
    [`${mesh.name}\\_o%`],
  );
  const roles = await mesh.sql('SELECT 1 FROM pg_roles WHERE rolname LIKE $1', [`${mesh.name}\\_o%`]);
  const places = await mesh.sql<{ reserved: number }>('SELECT reserved FROM capacity_planner.cell');
  return {
    // A fact may be sent twice, under the same id; two different ones would be two instances.
    readyFacts: facts.map((said) => new Set(said.map((envelope) => envelope.id)).size),
    states: footprints.map((one) => one.state),
    instances: new Set(footprints.map((one) => one.instance_id)).size,
    footprints: footprints.length,
    deployments: deployments.filter((one) => ids.includes(one.metadata?.labels?.['instance-id'] ?? '')).length,
    databases: databases.length,
    roles: roles.length,
    reserved: places.reduce((sum, place) => sum + place.reserved, 0),
  };
}

function expected(count: number, all: number) {
  return {
    readyFacts: Array(count).fill(1),
    states: Array(count).fill('ready'),
    instances: count,
    footprints: count,
    deployments: count,
    databases: all,
    roles: all,
    reserved: all,
  };
}

async function kill(service: Program): Promise<void> {
  await mesh.services.kill(service);
  await mesh.services.start(service);
}

test('planner and provisioner are killed again and again in the middle of ten provisionings: all Ready, none doubled', async () => {
  const requests = Array.from({ length: 10 }, (_, i) => mesh.request(`killed-${i}`));
  const all = Promise.all(requests.map((request) => mesh.ready(request.data.instanceId, 120_000)));
  const publishing = Promise.all(requests.map((request) => mesh.publish(request)));
  await waitFor('the first to be placed', () => mesh.heard.some((one) => one.key === 'instance.placed.v1'));
  await kill('capacity-planner');
  await waitFor('the first step', () => mesh.heard.some((one) => one.key === 'instance.provisioning-progressed.v1'));
  await kill('provisioner');
  await Promise.all([kill('capacity-planner'), kill('provisioner')]);
  await publishing;
  await all;
  expect(await ledger(requests)).toEqual(expected(10, 10));
});

test('the API server is killed in the middle of ten provisionings and comes back: all Ready, none doubled', async () => {
  const { MESH_STATE } = stackEnvironment();
  const requests = Array.from({ length: 10 }, (_, i) => mesh.request(`no-api-${i}`));
  await Promise.all(requests.map((request) => mesh.publish(request)));
  const first = requests.map((request) => request.data.instanceId);
  await waitFor('one of them at work', () =>
    mesh.heard.some(
      (one) =>
        one.key === 'instance.provisioning-progressed.v1' && first.includes(one.envelope.data.instanceId as string),
    ),
  );
  await killProcess(MESH_STATE, 'kube-apiserver');
  await startProcess(MESH_STATE, 'kube-apiserver');
  await Promise.all(requests.map((request) => mesh.ready(request.data.instanceId, 120_000)));
  expect(await ledger(requests)).toEqual(expected(10, 20));
});
