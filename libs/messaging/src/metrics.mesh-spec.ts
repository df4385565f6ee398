import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { type ChannelModel, connect } from 'amqplib';
import { InstanceRequested, newId } from '#contracts/index.js';
import { createTestBroker, type TestBroker } from '#testing/broker.js';
import { TestMeters } from '#testing/test-meters.js';
import { TestService } from '#testing/test-service.js';
import { waitFor } from '#testing/wait-for.js';
import { MessageHandler, on } from './index.js';

const failing = new Set<string>();

class Handler extends MessageHandler<typeof InstanceRequested> {
  async handle({ slug }: { slug: string }): Promise<void> {
    if (failing.has(slug)) throw new RangeError('it is too much');
  }
}

let meters: TestMeters;
let broker: TestBroker;
let service: TestService;
let admin: ChannelModel;

beforeAll(async () => {
  // Before the service: it looks up its meters when it is made.
  meters = new TestMeters();
  broker = await createTestBroker('figures', ['capacity-planner']);
  admin = await connect(broker.adminUrl);
  service = await TestService.start(broker, 'capacity-planner', [on(InstanceRequested, Handler)], [Handler]);
});
afterAll(async () => {
  await service?.stop();
  await admin?.close();
  await broker?.drop();
  await meters?.remove();
});

async function say(body: string): Promise<void> {
  const channel = await admin.createConfirmChannel();
  channel.publish('mesh.events', 'instance.requested.v1', Buffer.from(body));
  await channel.waitForConfirms();
  await channel.close();
}

function request(slug: string, id = newId()): string {
  return JSON.stringify({
    specversion: '1.0',
    id,
    source: 'signup',
    type: 'mesh.instance.requested.v1',
    time: new Date(Date.now() - 60_000).toISOString(),
    data: {
      instanceId: newId(),
      slug,
      customerId: 'c-1',
      plan: 'business',
      odooVersion: '18.0',
      company: 'ACME',
      adminLogin: 'owner@acme.example',
    },
  });
}

const queue = 'capacity-planner.requests';
const handled = (verdict: string) => `mesh.messages.handled ${queue} mesh.instance.requested.v1 ${verdict}`;
const failed = (end: string, reason: string) => `mesh.messages.failed ${queue} ${end} ${reason}`;

async function become(name: string, value: number): Promise<void> {
  await waitFor(`${name} to be ${value}`, async () => {
    const told = await meters.read();
    if (told[name] !== value) throw new Error(`it is ${told[name]}`);
    return true;
  });
}

test('what can happen to a message is told with zero before it happens', async () => {
  expect(await meters.read()).toMatchObject({
    [handled('handled')]: 0,
    [handled('duplicate')]: 0,
    [failed('parked', 'not-json')]: 0,
    [failed('parked', 'crashed-consumer')]: 0,
    'mesh.outbox.sent instance.placed.v1': 0,
  });
});

test('each message is counted by its end, and measured when it was handled', async () => {
  const id = newId();
  await say(request('plain', id));
  await become(handled('handled'), 1);
  await say(request('plain', id));
  await become(handled('duplicate'), 1);
  await say('this is no JSON');
  await become(failed('parked', 'not-json'), 1);
  failing.add('fails');
  await say(request('fails'));
  await become(failed('parked', 'exhausted'), 1);

  // A duplicate and what failed take no time and have no age that anybody asked for.
  expect(await meters.read()).toMatchObject({
    [failed('retry', 'RangeError')]: 2,
    [`mesh.message.age.seconds ${queue}`]: 1,
    [`mesh.message.handling.seconds ${queue}`]: 1,
  });
});

test('what the broker refused is told apart from what waits, and makes the outbox no older', async () => {
  await service.database.query(
    `INSERT INTO outbox (message_id, exchange, routing_key, body, refusals, created_at, due_at)
     VALUES ($1, 'mesh.events', 'instance.placed.v1', '{}', 3, now() - interval '1 hour', now() + interval '1 hour')`,
    [newId()],
  );
  await become('mesh.outbox.refused', 1);
  const told = await meters.read();
  expect(told['mesh.outbox.oldest.seconds']).toBe(0);
  expect(told['mesh.outbox.messages']).toBe(1);
  expect(told['mesh.outbox.relaying']).toBe(1);
  await service.database.query('DELETE FROM outbox WHERE refusals = 3');
});
