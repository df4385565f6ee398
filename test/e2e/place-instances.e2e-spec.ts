import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { waitFor } from '#testing/wait-for.js';
import { TestMesh } from './test-mesh.js';

let mesh: TestMesh;

/** One cell with three places, and two of each service that fight for them. */
beforeAll(async () => {
  mesh = await TestMesh.start({ placesPerCell: 3, maxCells: 1 });
  await mesh.startReplica();
});
afterAll(() => mesh?.stop());

test('fifty requests, three places, two planners and two provisioners: exactly three are placed, the others wait', async () => {
  const requests = Array.from({ length: 50 }, (_, i) => mesh.request(`crowd-${i}`));
  await Promise.all(requests.map((request) => mesh.publish(request)));
  const deferred = () =>
    new Set(
      mesh.heard
        .filter((one) => one.key === 'instance.placement-deferred.v1')
        .map((one) => one.envelope.data.instanceId),
    );
  await waitFor('each of them to be answered', async () => {
    const [row] = await mesh.sql<{ n: number }>('SELECT count(*)::int AS n FROM capacity_planner.placement');
    return row!.n === 50;
  });
  const ready = () => mesh.heard.filter((one) => one.key === 'instance.ready.v1');
  await waitFor('three to be ready', () => new Set(ready().map((one) => one.envelope.data.instanceId)).size === 3);
  await waitFor('the others to be told that they wait', () => deferred().size >= 47);

  const states = await mesh.sql(
    'SELECT state, count(*)::int AS n FROM capacity_planner.placement GROUP BY state ORDER BY state',
  );
  expect(states).toEqual([
    { state: 'placed', n: 3 },
    { state: 'waiting', n: 47 },
  ]);
  expect(await mesh.sql('SELECT reserved FROM capacity_planner.cell')).toEqual([{ reserved: 3 }]);
  expect(await mesh.sql('SELECT count(*)::int AS n FROM provisioner.footprint')).toEqual([{ n: 3 }]);
  const [waiting] = await mesh.sql<{ id: string }>(
    `SELECT instance_id AS id FROM capacity_planner.placement WHERE state = 'waiting' LIMIT 1`,
  );
  await waitFor('the read model to give the reason', async () => {
    const { body } = await mesh.api(`/v1/instances/${waiting!.id}`);
    return body.state === 'waiting' && body.reason === 'AllCellsFull';
  });
});

test('an instance that ends makes room for the one that waits longest', async () => {
  const [ended] = mesh.heard.filter((one) => one.key === 'instance.ready.v1').map((one) => one.envelope.data);
  const [next] = await mesh.sql<{ id: string }>(
    `SELECT instance_id AS id FROM capacity_planner.placement WHERE state = 'waiting'
     ORDER BY accepted_at, instance_id LIMIT 1`,
  );
  await mesh.purge(ended);
  await mesh.ready(next!.id);
  expect(await mesh.sql('SELECT reserved FROM capacity_planner.cell')).toEqual([{ reserved: 3 }]);
});

test('of two requests for one name at the same moment one is accepted and the other refused', async () => {
  for (let i = 0; i < 10; i++) {
    const rivals = [mesh.request(`rivals-${i}`), mesh.request(`rivals-${i}`)];
    await Promise.all(rivals.map((request) => mesh.publish(request)));
    await waitFor('one refusal', () =>
      rivals.some((rival) =>
        mesh.heard.some((one) => one.key === 'instance.refused.v1' && one.envelope.data.requestId === rival.id),
      ),
    );
    const holders = await mesh.sql<{ id: string }>(
      'SELECT instance_id AS id FROM capacity_planner.host_name WHERE host = $1',
      [`rivals-${i}.localhost`],
    );
    const placements = await mesh.sql<{ id: string }>(
      'SELECT instance_id AS id FROM capacity_planner.placement WHERE instance_id = ANY($1)',
      [rivals.map((rival) => rival.data.instanceId)],
    );
    expect(placements).toEqual(holders);
    expect(holders).toHaveLength(1);
  }
});
