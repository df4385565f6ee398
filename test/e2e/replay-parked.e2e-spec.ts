import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { newId } from '#contracts/index.js';
import { waitFor } from '#testing/wait-for.js';
import { TestMesh } from './test-mesh.js';

let mesh: TestMesh;

beforeAll(async () => {
  mesh = await TestMesh.start();
});
afterAll(() => mesh?.stop());

const post = (path: string, body?: object) => mesh.api(path, { method: 'POST', ...(body && { body }) });

/** The number of the parked message with this text in its body; of this service's, when more than one hears it. */
async function parked(text: string, service: string | null = null): Promise<string> {
  return await waitFor('the parked message', async () => {
    const rows = await mesh.sql<{ id: string }>(
      `SELECT id::text FROM api_gateway.parked_message
       WHERE position($1::bytea in body) > 0 AND ($2::text IS NULL OR service = $2) ORDER BY id DESC`,
      [Buffer.from(text), service],
    );
    return rows[0]?.id;
  });
}

test('a request that nobody had a queue for is put back when its owner runs, and is done', async () => {
  const channel = await mesh.asAdministrator();
  await channel.unbindQueue('capacity-planner.requests', 'mesh.events', 'instance.requested.v1');
  const request = mesh.request('early-bird');
  await mesh.publish(request);
  const id = await parked(request.id);
  await channel.bindQueue('capacity-planner.requests', 'mesh.events', 'instance.requested.v1');

  const listed = await mesh.api('/v1/parked-messages?status=parked&reason=unrouted');
  expect(listed.body.items.map((one: { id: string }) => one.id)).toContain(id);
  expect((await mesh.api(`/v1/parked-messages/${id}`)).body).toMatchObject({
    ...{ status: 'parked', reason: 'unrouted', type: 'mesh.instance.requested.v1' },
    body: JSON.stringify(request),
  });
  expect(await post(`/v1/parked-messages/${id}/replay`)).toMatchObject({ status: 202, body: { status: 'replayed' } });
  await mesh.ready(request.data.instanceId);
  expect(await post(`/v1/parked-messages/${id}/replay`)).toMatchObject({
    status: 409,
    body: { code: 'already-settled' },
  });
});

test('one that fails again is parked again, and says which one it was', async () => {
  const request = mesh.request('hopeless', { company: 'a\nb' });
  await mesh.publish(request);
  const id = await parked(request.id);
  await post(`/v1/parked-messages/${id}/replay`);
  const again = await waitFor('it to be parked again', async () => {
    const { body } = await mesh.api('/v1/parked-messages');
    return body.items.find((one: { replayOf: string | null }) => one.replayOf === id);
  });
  expect(again).toMatchObject({ reason: 'broken-data', status: 'parked' });
  const { body } = await post(`/v1/parked-messages/${again.id}/discard`, { reason: 'the publisher was told' });
  expect(body).toMatchObject({ status: 'discarded', statusReason: 'the publisher was told' });
});

test('a fact that was overtaken while it was parked changes nothing and is shown as superseded', async () => {
  const request = mesh.request('overtaken');
  await mesh.publish(request);
  const { instanceId, footprintId } = await mesh.ready(request.data.instanceId);
  const failed = (sequence: number, code: string, change: object) => ({
    ...{ specversion: '1.0', id: newId(), source: 'provisioner', type: 'mesh.instance.provisioning-failed.v1' },
    ...{ subject: instanceId, sequence },
    data: { instanceId, footprintId, code, fault: 'platform', retryable: false, message: 'told', ...change },
  });
  const say = (fact: object) => mesh.publish(fact, { key: 'instance.provisioning-failed.v1', as: 'provisioner' });
  const now = Date.now() + 60_000;
  // It is broken for the one who hears it today; a later version of the gateway would understand it.
  const older = failed(now, 'OLDER', { fault: 'weather' });
  await say(older);
  const id = await parked(older.id);
  await say(failed(now + 1, 'NEWER', {}));
  await waitFor('the newer one to be handled', async () => {
    const rows = await mesh.sql('SELECT 1 FROM api_gateway.heard WHERE subject = $1 AND sequence = $2', [
      instanceId,
      now + 1,
    ]);
    return rows.length > 0;
  });
  // As the later version would read it.
  const body = JSON.stringify({ ...older, data: { ...older.data, fault: 'provider' } });
  await mesh.sql('UPDATE api_gateway.parked_message SET body = $2, body_bytes = $3 WHERE id = $1', [
    id,
    Buffer.from(body),
    Buffer.byteLength(body),
  ]);
  await post(`/v1/parked-messages/${id}/replay`);
  await waitFor('it to be superseded', async () => {
    return (await mesh.api(`/v1/parked-messages/${id}`)).body.status === 'superseded';
  });
});

test('an approval to destroy that was parked is not believed when it is put back', async () => {
  const request = mesh.request('kept-alive');
  await mesh.publish(request);
  const ready = await mesh.ready(request.data.instanceId);
  const approval = mesh.purgeApproval(ready, { expiresAt: new Date(Date.now() + 3_600_000).toISOString() });
  // Parked, because it came without lifecycle's user-id.
  await mesh.publishAsAdministrator(approval, 'instance.purge-approved.v1');
  const id = await parked(approval.id, 'provisioner');
  await mesh.sql('UPDATE api_gateway.parked_message SET publisher = $2 WHERE id = $1', [id, `${mesh.name}-lifecycle`]);
  await post(`/v1/parked-messages/${id}/replay`);
  const again = await waitFor('it to be parked again', async () => {
    const { body } = await mesh.api('/v1/parked-messages');
    return body.items.find((one: { replayOf: string | null }) => one.replayOf === id);
  });
  expect(again).toMatchObject({ reason: 'forged', error: expect.stringContaining('ask for a new one') });
  expect(mesh.said('instance.terminated.v1', ready.instanceId)).toEqual([]);
});

test.each([
  ['a number nobody has', '/v1/parked-messages/999999', undefined, 404],
  ['what is no number', '/v1/parked-messages/1%20OR%201=1', undefined, 400],
  ['a filter nobody knows', '/v1/parked-messages?colour=red', undefined, 400],
  ['no reason to discard', '/v1/parked-messages/1/discard', {}, 400],
])('with %s the API answers a problem', async (_, path, body, status) => {
  const answer = body ? await post(path, body) : await mesh.api(path);
  expect(answer).toMatchObject({ status, body: { code: expect.any(String), next: expect.any(String) } });
});

// The last one: for a while after it the services make their queues and bindings again.
test('while the broker is away nobody waits for it: the message stays parked, and is put back afterwards', async () => {
  const request = mesh.request('meanwhile', { company: 'a\nb' });
  await mesh.publish(request);
  const id = await parked(request.id);
  await mesh.loseBroker();
  expect(await post(`/v1/parked-messages/${id}/replay`)).toMatchObject({ status: 500, body: { fault: 'platform' } });
  expect((await mesh.api(`/v1/parked-messages/${id}`)).body.status).toBe('parked');
  await mesh.installAgain();
  await waitFor('it to be put back', async () => (await post(`/v1/parked-messages/${id}/replay`)).status === 202, {
    intervalMs: 250,
  });
});
