import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { type ChannelModel, connect } from 'amqplib';
import { HostReleased, newId } from '#contracts/index.js';
import { Database } from '#persistence/index.js';
import { createTestBroker, type TestBroker } from '#testing/broker.js';
import { createTestDatabase, type TestDatabase } from '#testing/database.js';
import { TcpProxy } from '#testing/tcp-proxy.js';
import { waitFor } from '#testing/wait-for.js';
import { Asked } from './asked.js';
import { BrokerConnection } from './broker.js';
import { messagingMigrations } from './messaging.migration.js';
import { Outbox } from './outbox.js';
import { OutboxRelay } from './outbox-relay.js';

let broker: TestBroker;
let server: TestDatabase;
let database: Database;
let admin: ChannelModel;
let proxy: TcpProxy;
let connection: BrokerConnection;
let outbox: Outbox;
let relay: OutboxRelay;
const heard: string[] = [];

beforeAll(async () => {
  [broker, server] = await Promise.all([
    createTestBroker('relay', ['capacity-planner']),
    createTestDatabase('relay', 'capacity_planner'),
  ]);
  database = await Database.open({
    ...{ url: server.url, schema: server.schema, applicationName: 'relay spec', migrations: messagingMigrations },
  });
  admin = await connect(broker.adminUrl);
  const channel = await admin.createChannel();
  const { queue } = await channel.assertQueue('', { exclusive: true });
  await channel.bindQueue(queue, 'mesh.events', HostReleased.key);
  await channel.consume(queue, (one) => one && heard.push(JSON.parse(one.content.toString()).data.host), {
    noAck: true,
  });
  const url = broker.urlOf('capacity-planner');
  proxy = await TcpProxy.before(url);
  connection = new BrokerConnection({ url: proxy.through(url), name: 'relay spec', onTrouble: () => {} });
  outbox = new Outbox(database, 'capacity-planner', new Asked(database, 1_000));
  // Looks never by itself: whatever is sent was called for.
  relay = new OutboxRelay(
    database,
    outbox,
    connection,
    `${broker.vhost}-capacity-planner`,
    () => {},
    undefined,
    3_600_000,
  );
  await connection.start();
  relay.start();
});
afterAll(async () => {
  proxy?.stall(false);
  await relay?.drain();
  await Promise.all([connection?.close(), admin?.close(), database?.close()]);
  await Promise.all([proxy?.close(), broker?.drop(), server?.drop()]);
});

const say = (host: string) => outbox.transaction({}, (ctx) => ctx.publish(HostReleased, { host, instanceId: newId() }));

test('what is committed while something else is being sent is sent next, and waits for no look', async () => {
  await say('first.example');
  // Called before it has a channel it can send nothing, and looks never again by itself.
  await waitFor('the first', () => {
    outbox.onCommit();
    return heard.includes('first.example');
  });
  proxy.stall(true);
  await say('second.example');
  await waitFor('it to be under way', async () => {
    const [row] = await database.query(
      `SELECT 1 FROM pg_stat_activity WHERE application_name = 'relay spec' AND state = 'idle in transaction'`,
    );
    return row;
  });
  await say('third.example');
  proxy.stall(false);
  await waitFor('all of it', () => heard.length === 3);
  expect(heard).toEqual(['first.example', 'second.example', 'third.example']);
});
