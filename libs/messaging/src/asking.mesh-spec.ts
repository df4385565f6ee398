import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { Injectable } from '@nestjs/common';
import { type ChannelModel, connect } from 'amqplib';
import {
  InstanceProvisioningFailed,
  InstanceProvisioningStarted,
  InstanceReady,
  InstanceRefused,
  InstanceRequested,
  InstanceTerminated,
  newId,
  type PayloadOf,
  RepublishRequested,
  TemplatePublished,
} from '#contracts/index.js';
import { createTestBroker, type TestBroker } from '#testing/broker.js';
import { TestService } from '#testing/test-service.js';
import { waitFor } from '#testing/wait-for.js';
import { type ConsumeContext, MessageHandler, on, RepublishHandler } from './index.js';

let effects = 0;
/** Ids of messages whose handler fails the first three times. */
const failing = new Set<string>();
const done: string[] = [];
let failures = 0;
const answers: string[] = [];
const ended: string[] = [];

@Injectable()
class RefuseHandler extends MessageHandler<typeof InstanceRequested> {
  async handle({ instanceId }: PayloadOf<typeof InstanceRequested>, ctx: ConsumeContext): Promise<void> {
    if (failing.has(ctx.message.id) && failures++ < 3) throw new Error('not yet');
    done.push(ctx.message.id);
    effects += 1;
    const answer = { code: 'slug-taken', fault: 'user', message: 'taken' } as const;
    await ctx.publish(InstanceRefused, { requestId: ctx.message.id, instanceId, ...answer });
  }
}

@Injectable()
class NoteAnswer extends MessageHandler<typeof InstanceRefused> {
  async handle({ requestId }: PayloadOf<typeof InstanceRefused>): Promise<void> {
    answers.push(requestId);
  }
}

@Injectable()
class NoteEnd extends MessageHandler<typeof InstanceTerminated> {
  async handle({ instanceId }: PayloadOf<typeof InstanceTerminated>): Promise<void> {
    ended.push(instanceId);
  }
}

let broker: TestBroker;
let admin: ChannelModel;
let planner: TestService;
let provisioner: TestService;
let lifecycle: TestService;
let backup: TestService;
let gateway: TestService;

/** The gateway asks and hears, the planner answers, provisioner, lifecycle and backup own facts about instances too. */
beforeAll(async () => {
  broker = await createTestBroker('asking', ['api-gateway', 'capacity-planner', 'provisioner', 'lifecycle', 'backup']);
  admin = await connect(broker.adminUrl);
  const republish = on(RepublishRequested, RepublishHandler);
  planner = await TestService.start(
    broker,
    'capacity-planner',
    [on(InstanceRequested, RefuseHandler), republish],
    [RefuseHandler, RepublishHandler],
  );
  provisioner = await TestService.start(broker, 'provisioner', [republish], [RepublishHandler]);
  lifecycle = await TestService.start(broker, 'lifecycle', [republish], [RepublishHandler]);
  backup = await TestService.start(broker, 'backup', [republish], [RepublishHandler]);
  gateway = await TestService.start(
    broker,
    'api-gateway',
    [on(InstanceRefused, NoteAnswer), on(InstanceTerminated, NoteEnd)],
    [NoteAnswer, NoteEnd],
  );
});

afterAll(async () => {
  await Promise.all([gateway, planner, provisioner, lifecycle, backup].map((one) => one?.stop()));
  await admin?.close();
  await broker?.drop();
});

const wish = () => ({
  instanceId: newId(),
  slug: 'acme',
  customerId: 'c-1',
  plan: 'business',
  odooVersion: '18.0',
  company: 'ACME',
  adminLogin: 'me@acme.example',
});

const asked = async (what = '%') =>
  (await gateway.database.query('SELECT 1 FROM asked WHERE routing_key LIKE $1', [what])).length;

test('at its first start a service asks every owner, and knows when all of them have said all they know', async () => {
  await waitFor('nothing to be due', async () => (await asked()) === 0);
  expect(gateway.notices).toContainEqual({ what: 'current facts are asked for', fields: { about: ['instance'] } });
});

test('a request that was lost on its way is asked again until it is answered, and done once', async () => {
  const before = effects;
  const lost = await admin.createChannel();
  await lost.unbindQueue('capacity-planner.requests', 'mesh.events', 'instance.requested.v1');
  const id = await gateway.outbox.transaction({}, (ctx) => ctx.publish(InstanceRequested, wish()));
  await waitFor('it to be sent', async () => (await gateway.database.query('SELECT 1 FROM outbox')).length === 0);
  expect(answers).not.toContain(id);
  await lost.bindQueue('capacity-planner.requests', 'mesh.events', 'instance.requested.v1');
  await waitFor('the answer', () => answers.includes(id));
  await waitFor('nothing to be due', async () => (await asked('instance.%')) === 0);
  expect(effects - before).toBe(1);
  expect(answers.filter((one) => one === id)).toHaveLength(1);
});

test('an answer that was lost on its way is said again to who asks again, and the effect is not', async () => {
  const before = effects;
  const channel = await admin.createChannel();
  await channel.unbindQueue('api-gateway.facts', 'mesh.events', 'instance.refused.v1');
  const id = await gateway.outbox.transaction({}, (ctx) => ctx.publish(InstanceRequested, wish()));
  // Through the binding for what is said again, which is still there.
  await waitFor('the answer', () => answers.includes(id));
  await channel.bindQueue('api-gateway.facts', 'mesh.events', 'instance.refused.v1');
  await waitFor('nothing to be due', async () => (await asked('instance.%')) === 0);
  expect(effects - before).toBe(1);
});

test('a service whose queue was deleted has the current facts said again, those that were lost with it too', async () => {
  const instanceId = newId();
  const channel = await admin.createChannel();
  await channel.unbindQueue('api-gateway.facts', 'mesh.events', 'instance.terminated.v1');
  await provisioner.outbox.transaction({}, (ctx) =>
    ctx.publish(InstanceTerminated, { instanceId, approvalId: newId(), removed: [] }),
  );
  await waitFor('it to be said', async () => (await provisioner.database.query('SELECT 1 FROM outbox')).length === 0);
  gateway.notices.length = 0;
  await channel.deleteQueue('api-gateway.facts');
  await waitFor('the lost fact', () => ended.includes(instanceId));
  expect(gateway.notices).toContainEqual({
    what: 'queues were missing and are made',
    fields: { queues: ['api-gateway.facts'] },
  });
  await waitFor('nothing to be due', async () => (await asked()) === 0);
});

test('what a later fact has replaced is not current any more', async () => {
  const instanceId = newId();
  const word = { instanceId, footprintId: newId() };
  const failure = { ...word, code: 'LATE', fault: 'platform', retryable: true, message: 'too late' } as const;
  const current = async () =>
    (await provisioner.database.query('SELECT 1 FROM current_fact WHERE subject = $1', [instanceId])).length;
  await provisioner.outbox.transaction({}, (ctx) => ctx.publish(InstanceProvisioningFailed, failure));
  expect(await current()).toBe(1);
  await provisioner.outbox.transaction({}, (ctx) =>
    ctx.publish(InstanceProvisioningStarted, { ...word, steps: ['secret'] }),
  );
  expect(await current()).toBe(0);
  expect(InstanceReady.replaces).toContain(InstanceProvisioningFailed.key);
});

test('a message that our broker user may not say waits, is told, and holds up none of the others', async () => {
  const instanceId = newId();
  const channel = await admin.createChannel();
  const { queue } = await channel.assertQueue('', { exclusive: true });
  const came: string[] = [];
  for (const { key } of [TemplatePublished, InstanceTerminated]) await channel.bindQueue(queue, 'mesh.events', key);
  await channel.consume(queue, (message) => message && came.push(message.fields.routingKey), { noAck: true });
  // One that was never said before: what a channel was once allowed to do the broker lets it do.
  await broker.forbid('provisioner', TemplatePublished.key);
  const template = { image: 'odoo:18.0', version: '18.0', bundle: 'apps', language: 'en_US', database: 'tpl' };
  await provisioner.outbox.transaction({}, async (ctx) => {
    const madeAt = new Date().toISOString();
    await ctx.publish(TemplatePublished, { template, databaseShard: 'local', madeAt, catalogue: 1 });
    await ctx.publish(InstanceTerminated, { instanceId, approvalId: newId(), removed: [] });
  });
  await waitFor('the one behind it', () => came.includes(InstanceTerminated.key));
  expect(came).not.toContain(TemplatePublished.key);
  expect(provisioner.troubles.map(({ what }) => what)).toContain(
    'the broker refuses a message with the key template.published.v1',
  );
  await broker.allow('provisioner');
  await waitFor('it to be sent after all', () => came.includes(TemplatePublished.key));
});

test('a message that failed is not lost with its delay queue', async () => {
  const channel = await admin.createChannel();
  const id = newId();
  failing.add(id);
  await channel.deleteQueue('capacity-planner.requests.delay.20ms');
  await channel.deleteQueue('capacity-planner.requests.delay.40ms');
  const request = {
    ...{ specversion: '1.0', id, source: 'signup', type: InstanceRequested.type, data: wish() },
  };
  const confirming = await admin.createConfirmChannel();
  confirming.publish('mesh.events', InstanceRequested.key, Buffer.from(JSON.stringify(request)), { persistent: true });
  await confirming.waitForConfirms();
  await waitFor('it to come to its end', () => done.includes(id));
});
