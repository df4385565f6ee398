import { afterEach, expect, test } from '@jest/globals';
import { waitFor } from '#testing/wait-for.js';
import { longForm } from '../e2e/config.js';
import { TestMesh, type TestMeshOptions } from '../e2e/test-mesh.js';
import { allReady, ledger } from './fixtures/mesh-ledger.js';

let mesh: TestMesh | undefined;
afterEach(async () => {
  await mesh?.stop();
  mesh = undefined;
});

const start = async (options: TestMeshOptions) => {
  mesh = await TestMesh.start(options);
  return mesh;
};

test('a vhost that is deleted in the middle of a crowd of provisionings and installed again costs time, and of foreign requests those without an answer', async () => {
  const mesh = await start({ askAgain: '2s', jobLease: '2s' });
  const half = longForm() ? 25 : 8;
  const early = Math.ceil(half / 2);
  const foreign = Array.from({ length: half }, (_, i) => mesh.request(`foreign-${i}`));
  const wish = (slug: string) => ({
    ...{ slug, customerId: 'c-7', plan: 'starter', odooVersion: '18.0' },
    ...{ company: 'API Ltd', adminLogin: 'me@api.example' },
  });
  const ask = async (from: number, to: number) => {
    const answers = await Promise.all(
      Array.from({ length: to - from }, (_, i) =>
        mesh.api('/v1/instances', { method: 'POST', body: wish(`own-${from + i}`) }),
      ),
    );
    await Promise.all(foreign.slice(from, to).map((request) => mesh.publish(request)));
    expect(answers.map(({ status }) => status)).toEqual(answers.map(() => 202));
    return answers.map(({ body }) => ({ data: { instanceId: body.instanceId as string } }));
  };
  const own = await ask(0, early);
  await waitFor('one of them at work', () =>
    mesh.heard.some((one) => one.key === 'instance.provisioning-progressed.v1'),
  );
  // These wait in the planner's queue, confirmed by the broker, when it is gone.
  await mesh.services.kill('capacity-planner');
  own.push(...(await ask(early, half)));
  await waitFor('all to be confirmed', async () => (await mesh.sql('SELECT 1 FROM api_gateway.outbox')).length === 0);
  await mesh.loseBroker();
  await mesh.installAgain();
  await mesh.services.start('capacity-planner');

  const begun = Date.now();
  await Promise.all(own.map(({ data }) => running(mesh, data.instanceId)));
  // What a foreign service has to do: ask again, under the same id, where it has heard no answer.
  const placed = await mesh.sql<{ id: string }>('SELECT instance_id AS id FROM capacity_planner.placement');
  const lost = foreign.filter((request) => !placed.some(({ id }) => id === request.data.instanceId));
  expect(lost).toEqual(expect.arrayContaining(foreign.slice(early)));
  for (const { data, id } of lost)
    expect(mesh.heard.filter(({ envelope }) => [data.instanceId, id].includes(envelope.subject!))).toEqual([]);
  await Promise.all(lost.map((request) => mesh.publish(request)));
  await Promise.all(foreign.map(({ data }) => running(mesh, data.instanceId)));
  console.log(
    `foreign requests: ${foreign.length} confirmed, ${lost.length} lost with the vhost and asked again; all ${2 * half} Ready ${((Date.now() - begun) / 1_000).toFixed(1)} s after the installation`,
  );
  const { readyFacts: _, ...all } = await ledger(mesh, [...own, ...foreign]);
  const { readyFacts: __, ...expected } = allReady(2 * half);
  expect(all).toEqual(expected);
  const [unanswered] = await mesh.sql<{ n: number }>(
    `SELECT count(*)::int AS n FROM api_gateway.asked WHERE routing_key = 'instance.requested.v1'`,
  );
  expect(unanswered).toEqual({ n: 0 });
});

test('a service that is born after many instances knows all of them', async () => {
  const mesh = await start({ askAgain: '2s', start: ['capacity-planner', 'provisioner', 'lifecycle', 'backup'] });
  const requests = Array.from({ length: longForm() ? 100 : 20 }, (_, i) => mesh.request(`early-${i}`));
  await Promise.all(requests.map((request) => mesh.publish(request)));
  await Promise.all(requests.map(({ data }) => mesh.ready(data.instanceId, 120_000)));
  const begun = Date.now();
  await mesh.services.start('api-gateway');
  await Promise.all(requests.map(({ data }) => running(mesh, data.instanceId)));
  console.log(
    `the gateway knows ${requests.length} instances ${((Date.now() - begun) / 1_000).toFixed(1)} s after its birth`,
  );
  await waitFor('every owner to have said all it knows', async () => {
    return (await mesh.sql('SELECT 1 FROM api_gateway.asked')).length === 0;
  });
});

/** By the read model: what a customer would see. */
async function running(mesh: TestMesh, instanceId: string): Promise<void> {
  await waitFor(
    `the read model to show ${instanceId} running`,
    async () => (await mesh.api(`/v1/instances/${instanceId}`)).body.state === 'running',
    { timeoutMs: 120_000, intervalMs: 100 },
  );
}
