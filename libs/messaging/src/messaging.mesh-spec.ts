import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { type INestApplication, Injectable, Module } from '@nestjs/common';
import { NestFactory } from '@nestjs/core';
import { type ChannelModel, type ConsumeMessage, connect } from 'amqplib';
import { Client } from 'pg';
import { InstanceRefused, InstanceRequested, InstanceTerminated, newId, type PayloadOf } from '#contracts/index.js';
import { Database, PersistenceModule } from '#persistence/index.js';
import { createTestBroker, type TestBroker } from '#testing/broker.js';
import { createTestDatabase, type TestDatabase } from '#testing/database.js';
import { waitFor } from '#testing/wait-for.js';
import {
  type ConsumeContext,
  MessageHandler,
  Messaging,
  MessagingModule,
  messagingMigrations,
  on,
  prune,
  TerminalError,
} from './index.js';

async function connectTo(url: string): Promise<Client> {
  const client = new Client({ connectionString: url });
  await client.connect();
  return client;
}

/** What the handler under test does with a message of this slug. */
const behaviour = new Map<string, () => void>();
const handled: string[] = [];
const terminated: string[] = [];

@Injectable()
class RefuseHandler extends MessageHandler<typeof InstanceRequested> {
  async handle(data: PayloadOf<typeof InstanceRequested>, ctx: ConsumeContext): Promise<void> {
    await ctx.query('INSERT INTO effect (slug) VALUES ($1)', [data.slug]);
    behaviour.get(data.slug)?.();
    handled.push(data.slug);
    await ctx.publish(InstanceRefused, {
      requestId: ctx.message.id,
      instanceId: data.instanceId,
      code: 'slug-taken',
      fault: 'user',
      message: 'taken',
    });
  }
}

@Injectable()
class TerminatedHandler extends MessageHandler<typeof InstanceTerminated> {
  async handle(data: PayloadOf<typeof InstanceTerminated>): Promise<void> {
    terminated.push(data.approvalId);
  }
}

let broker: TestBroker;
let testDatabase: TestDatabase;
let database: Database;
let app: INestApplication;
let admin: ChannelModel;
const heard: ConsumeMessage[] = [];
const parked: ConsumeMessage[] = [];

const levels = [
  { name: 'a', ms: 20 },
  { name: 'b', ms: 40 },
];

beforeAll(async () => {
  [broker, testDatabase] = await Promise.all([
    createTestBroker('messaging', ['capacity-planner', 'provisioner', 'lifecycle']),
    createTestDatabase('messaging', 'capacity_planner'),
  ]);
  @Module({
    imports: [
      PersistenceModule.forService({
        url: testDatabase.url,
        schema: testDatabase.schema,
        applicationName: 'messaging spec',
        migrations: [...messagingMigrations],
      }),
      MessagingModule.forService({
        service: 'capacity-planner',
        subscriptions: [on(InstanceRequested, RefuseHandler), on(InstanceTerminated, TerminatedHandler)],
        url: broker.urlOf('capacity-planner'),
        levels,
        onTrouble: () => {},
      }),
    ],
    providers: [RefuseHandler, TerminatedHandler],
  })
  class App {}
  app = await NestFactory.create(App, { logger: false });
  database = app.get(Database);
  await database.query('CREATE TABLE effect (slug text)');
  app.connectMicroservice({ strategy: app.get(Messaging).transport });
  // First init: the connections are opened there.
  await app.init();
  await app.startAllMicroservices();

  admin = await connect(broker.adminUrl);
  const channel = await admin.createChannel();
  const { queue } = await channel.assertQueue('', { exclusive: true });
  await channel.bindQueue(queue, 'mesh.events', 'instance.refused.v1');
  await channel.consume(queue, (message) => message && heard.push(message), { noAck: true });
  await channel.consume('capacity-planner.parked', (message) => message && parked.push(message), { noAck: true });
});

afterAll(async () => {
  await app.get(Messaging).drainConsumers();
  await app.get(Messaging).drainOutbox();
  await app.close();
  await admin.close();
  await Promise.all([broker.drop(), testDatabase.drop()]);
});

/** As a stranger does it: nothing of ours but the contract's example. */
async function say(
  body: string | Buffer,
  options: { key?: string; userId?: string; url?: string } = {},
): Promise<void> {
  const connection = options.url ? await connect(options.url) : admin;
  const channel = await connection.createConfirmChannel();
  channel.publish('mesh.events', options.key ?? 'instance.requested.v1', Buffer.from(body), {
    persistent: true,
    contentType: 'application/cloudevents+json',
    ...(options.userId && { userId: options.userId }),
  });
  await channel.waitForConfirms();
  await channel.close();
  if (options.url) await connection.close();
}

function request(slug: string, id: string = newId(), more: object = {}): string {
  return JSON.stringify({
    specversion: '1.0',
    id,
    source: 'signup',
    type: 'mesh.instance.requested.v1',
    data: {
      instanceId: newId(),
      slug,
      customerId: 'c-1',
      plan: 'business',
      odooVersion: '18.0',
      company: 'ACME',
      adminLogin: 'owner@acme.example',
      ...more,
    },
  });
}

const answers = (id: string) => heard.filter((one) => JSON.parse(one.content.toString()).causationid === id);
const parkedWith = (text: string) =>
  waitFor(`a parked message with ${text}`, () => parked.find((one) => one.content.includes(text)));
const effects = async (slug: string) => (await database.query('SELECT 1 FROM effect WHERE slug = $1', [slug])).length;

test('a foreign request is handled, and what is said about it carries its trace, its cause and the speaker', async () => {
  const id = newId();
  const traceparent = '00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01';
  await say(JSON.stringify({ ...JSON.parse(request('plain', id)), traceparent }));
  const [answer] = await waitFor('the answer', () => (answers(id).length > 0 ? answers(id) : undefined));
  const envelope = JSON.parse(answer!.content.toString());
  expect(envelope).toMatchObject({
    specversion: '1.0',
    source: 'capacity-planner',
    type: 'mesh.instance.refused.v1',
    subject: id,
    correlationid: id,
    traceparent,
  });
  expect(envelope.sequence).toBeGreaterThan(Date.UTC(2026, 0));
  expect(answer!.properties).toMatchObject({ messageId: envelope.id, userId: `${broker.vhost}-capacity-planner` });
});

test('a message that comes ten times is handled once', async () => {
  const body = request('tenfold');
  for (let i = 0; i < 10; i++) await say(body);
  const last = request('after-tenfold');
  await say(last);
  await waitFor('the message after them', () => handled.includes('after-tenfold'));
  await waitFor('quiet queues', async () => (await effects('tenfold')) === 1);
  expect(handled.filter((slug) => slug === 'tenfold')).toHaveLength(1);
});

test('a handler that fails is tried again after each delay, leaves no half effect, and its message is parked at last', async () => {
  let calls = 0;
  behaviour.set('unlucky', () => {
    calls += 1;
    throw new Error('the world is away');
  });
  await say(request('unlucky'));
  const message = await parkedWith('"unlucky"');
  // Three deliveries (one and two delays), each with two quick tries more.
  expect(calls).toBe(9);
  expect(await effects('unlucky')).toBe(0);
  expect(message.properties.headers).toMatchObject({
    'mesh-reason': 'exhausted',
    'mesh-attempt': 3,
    'mesh-queue': 'capacity-planner.requests',
    // It came without one; whoever looks finds its tries by it.
    traceparent: expect.stringMatching(/^00-[0-9a-f]{32}-[0-9a-f]{16}-01$/),
  });
  expect(message.properties.headers?.['mesh-error']).toContain('the world is away');
});

test('a handler that fails at first succeeds in the end, once', async () => {
  let calls = 0;
  behaviour.set('late', () => {
    calls += 1;
    if (calls < 5) throw new Error('not yet');
  });
  await say(request('late'));
  await waitFor('success', () => handled.includes('late'));
  await waitFor('one effect', async () => (await effects('late')) === 1);
});

test('a terminal error parks at once', async () => {
  let calls = 0;
  behaviour.set('hopeless', () => {
    calls += 1;
    throw new TerminalError('it will never work');
  });
  await say(request('hopeless'));
  const message = await parkedWith('"hopeless"');
  expect(calls).toBe(1);
  expect(message.properties.headers).toMatchObject({ 'mesh-reason': 'terminal', 'mesh-error': 'it will never work' });
});

test.each<[string, () => string | Buffer, string, string]>([
  ['no JSON', () => 'mark-1 {', 'mark-1', 'not-json'],
  ['no UTF-8', () => Buffer.from([0x22, 0xff, 0xfe, ...Buffer.from('mark-2')]), 'mark-2', 'not-json'],
  ['no CloudEvent', () => '{"mark-3": 1}', 'mark-3', 'broken-envelope'],
  [
    'a type nobody here hears',
    () => request('mark-4').replace('instance.requested', 'instance.danced'),
    'mark-4',
    'unknown-type',
  ],
  ['data that does not fit', () => request('mark-5', newId(), { instanceId: 'seven' }), 'mark-5', 'broken-data'],
  [
    'a body that is too large',
    () => request('mark-6', newId(), { company: 'x'.repeat(300_000) }),
    'mark-6',
    'oversize',
  ],
])('%s is parked with its reason, and its neighbours are handled', async (_, body, mark, reason) => {
  const before = newId();
  const after = newId();
  await say(request(`before-${mark}`, before));
  await say(body());
  await say(request(`after-${mark}`, after));
  const message = await waitFor('the parked message', () =>
    parked.find((one) => one.content.includes(mark) && one.properties.headers?.['mesh-reason'] === reason),
  );
  expect(message.properties.headers?.['mesh-error']).toBeTruthy();
  await waitFor('its neighbours', () => answers(before).length === 1 && answers(after).length === 1);
});

test('a fact is believed only from the service that may say it', async () => {
  const fact = (approvalId: string) =>
    JSON.stringify({
      specversion: '1.0',
      id: newId(),
      source: 'provisioner',
      type: 'mesh.instance.terminated.v1',
      subject: 'x',
      sequence: Date.now(),
      data: { instanceId: newId(), approvalId, removed: [] },
    });
  await say(fact('forged'), { key: 'instance.terminated.v1' });
  const message = await parkedWith('"forged"');
  expect(message.properties.headers?.['mesh-reason']).toBe('forged');
  await say(fact('true'), {
    key: 'instance.terminated.v1',
    url: broker.urlOf('provisioner'),
    userId: `${broker.vhost}-provisioner`,
  });
  await waitFor('the true one', () => terminated.includes('true'));
  expect(terminated).not.toContain('forged');
});

test('a fact that was overtaken by a newer one of its subject is not applied', async () => {
  const instanceId = newId();
  const fact = (sequence: number) =>
    JSON.stringify({
      specversion: '1.0',
      id: newId(),
      source: 'provisioner',
      type: 'mesh.instance.terminated.v1',
      subject: instanceId,
      sequence,
      data: { instanceId, approvalId: `at-${sequence}`, removed: [] },
    });
  const as = { key: 'instance.terminated.v1', url: broker.urlOf('provisioner'), userId: `${broker.vhost}-provisioner` };
  await say(fact(10), as);
  await waitFor('the newer one', () => terminated.includes('at-10'));
  await say(fact(9), as);
  await say(fact(11), as);
  await waitFor('the newest one', () => terminated.includes('at-11'));
  expect(terminated).not.toContain('at-9');
});

test('a message that was handled more than a week ago is forgotten, a younger one is not', async () => {
  await database.query(
    `INSERT INTO inbox (source, message_id, handled_at) VALUES
     ('pruned', 'old', now() - interval '8 days'), ('pruned', 'young', now() - interval '6 days')`,
  );
  expect(await prune(database)).toBe(1);
  expect(await database.query(`SELECT message_id FROM inbox WHERE source = 'pruned'`)).toEqual([
    { message_id: 'young' },
  ]);
});

test('tables stay as large as a week is, however much goes through them', async () => {
  const tables = ['inbox', 'answer', 'said', 'heard', 'outbox'] as const;
  const admin = await connectTo(testDatabase.adminUrl);
  const size = async () => {
    // What autovacuum does meanwhile, at once; again where somebody who is just connecting could still see what went.
    await waitFor('what went to be cleared away', async () => {
      for (const table of tables) await admin.query(`VACUUM capacity_planner.${table}`);
      const { rows } = await admin.query(
        `SELECT sum(n_dead_tup)::int AS dead FROM pg_stat_user_tables
         WHERE schemaname = 'capacity_planner' AND relname = ANY($1)`,
        [tables],
      );
      return rows[0].dead === 0;
    });
    const { rows } = await admin.query(
      `SELECT sum(pg_total_relation_size(('capacity_planner.' || name)::regclass))::int AS bytes FROM unnest($1::text[]) name`,
      [tables],
    );
    await everybodyIsLater();
    return rows[0].bytes as number;
  };
  // A page of an index is used again only when no transaction of the whole server is older than its emptying: with a
  // neighbour's in another database that is open for six rounds the indexes grow by each of them, and the tables do not.
  const everybodyIsLater = async () => {
    const { rows } = await admin.query('SELECT pg_current_xact_id()::xid::text AS now');
    await waitFor('all who are older to be done', async () => {
      const older = await admin.query(
        `SELECT 1 FROM pg_stat_activity WHERE pid <> pg_backend_pid()
           AND greatest(age(backend_xmin), age(backend_xid)) >= age($1::text::xid)`,
        [rows[0].now],
      );
      return older.rowCount === 0;
    });
  };
  const longAgo = `(extract(epoch FROM now() - interval '8 days') * 1000)::bigint`;
  const sizes: number[] = [];
  for (let round = 0; round < 6; round++) {
    await database.query(
      `INSERT INTO inbox (source, message_id, handled_at)
       SELECT 'flat', $1 || n, now() - interval '8 days' FROM generate_series(1, 3000) n`,
      [`${round}-`],
    );
    await database.query(
      `INSERT INTO answer (request_id, message_id, body, said_at)
       SELECT $1 || n, gen_random_uuid(), repeat('x', 300), now() - interval '8 days' FROM generate_series(1, 3000) n`,
      [`${round}-`],
    );
    await database.query(
      `INSERT INTO said (subject, sequence) SELECT $1 || n, ${longAgo} FROM generate_series(1, 3000) n`,
      [`${round}-`],
    );
    await database.query(
      `INSERT INTO heard (source, subject, type, sequence)
       SELECT 'flat', $1 || n, $2, ${longAgo} FROM generate_series(1, 3000) n`,
      [`${round}-`, InstanceRefused.type],
    );
    await prune(database);
    sizes.push(await size());
  }
  await admin.end();
  expect(Math.max(...sizes.slice(2))).toBeLessThanOrEqual(sizes[1]! * 1.1);
  expect(await database.query(`SELECT 1 FROM inbox WHERE source = 'flat'`)).toEqual([]);
});

test('what was sent is not kept in the outbox', async () => {
  await waitFor('an empty outbox', async () => (await database.query('SELECT 1 FROM outbox')).length === 0);
});
