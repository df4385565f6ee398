import { Asked, BrokerConnection, defaultAskAgainMs, eventsExchange, Outbox } from '#messaging/index.js';
import { OutboxRelay } from '#messaging/outbox-relay.js';
import type { Database } from '#persistence/index.js';
import { BarePublisher, publishWindow } from './bare-publisher.js';
import { bench, type Running } from './bench.js';
import { type BenchBroker, QueueKeeper, setUpBroker } from './bench-broker.js';
import { type Message, newMessages, routingKey, traceparent } from './messages.js';
import { Stopwatch } from './stopwatch.js';

export const publish = bench<BenchBroker>({
  name: 'publish',
  says: 'confirmed publish of 1 KB envelopes, window 500, topic exchange, quorum queue',
  size: {
    full: { n: 20_000, rounds: 5, warmUp: 5_000, minutes: 0.6 },
    quick: { n: 3_000, rounds: 3, warmUp: 1_000, minutes: 0.3 },
  },
  setUp: setUpBroker,
  contenders: {
    relay: { start: startRelay },
    bare: { start: (setting) => startBare(setting, 'publish') },
    'bare in batches': { start: (setting) => startBare(setting, 'publishInBatches') },
  },
  comparisons: [
    {
      says: 'the relay against bare amqplib',
      quantity: 'perSecond',
      ours: 'relay',
      reference: 'bare',
      goal: { of: 'ratio', is: 'at least', value: 0.85 },
    },
    {
      says: 'the relay against bare batches of 500',
      quantity: 'perSecond',
      ours: 'relay',
      reference: 'bare in batches',
    },
    { says: 'the relay against bare amqplib', quantity: 'cpuMicrosEach', ours: 'relay', reference: 'bare' },
  ],
  notes: [
    'The relay is the real one with its connection, channel and properties; its database is one that has 500 rows ready at once.',
    'Bare keeps 500 unconfirmed at any time, with buffers and properties made beforehand; the relay waits for each batch of 500.',
  ],
});

async function startRelay(setting: BenchBroker): Promise<Running> {
  const keeper = await QueueKeeper.open(setting);
  const rows = new ReadyRows();
  const database = rows.asDatabase();
  const outbox = new Outbox(database, 'api-gateway', new Asked(database, defaultAskAgainMs));
  const trouble = (what: string, error: unknown) => rows.fail(new Error(`${what}: ${error}`, { cause: error }));
  const connection = new BrokerConnection({ url: setting.publisherUrl, name: 'bench relay', onTrouble: trouble });
  const user = decodeURIComponent(new URL(setting.publisherUrl).username);
  const relay = new OutboxRelay(database, outbox, connection, user, trouble);
  await connection.start();
  relay.start();
  return {
    async round(n) {
      await keeper.empty();
      const sent = rows.fill(newMessages(n));
      const watch = new Stopwatch();
      outbox.onCommit();
      await sent;
      return watch.stop(n);
    },
    async stop() {
      await relay.drain();
      await connection.close();
      await keeper.close();
    },
  };
}

/** An outbox whose database takes no time. */
class ReadyRows {
  private rows: object[] = [];
  private sent: () => void = () => {};
  fail: (error: Error) => void = () => {};

  /** Resolves when the last of them was confirmed. */
  fill(messages: readonly Message[]): Promise<void> {
    this.rows = messages.map(({ id, body }, index) => ({
      seq: String(index),
      message_id: id,
      exchange: eventsExchange,
      routing_key: routingKey,
      body,
      traceparent,
    }));
    return new Promise((resolve, reject) => {
      this.sent = resolve;
      this.fail = reject;
    });
  }

  asDatabase(): Database {
    const session = { once() {}, query: async () => ({ rows: [{ held: true }] }), end: async () => {} };
    const tx = { query: async () => this.rows.splice(0, publishWindow) };
    const database = {
      connect: async () => session,
      transaction: async (work: (one: typeof tx) => Promise<boolean>) => {
        const full = await work(tx);
        if (this.rows.length === 0) this.sent();
        return full;
      },
    };
    return database as unknown as Database;
  }
}

async function startBare(setting: BenchBroker, way: 'publish' | 'publishInBatches'): Promise<Running> {
  const keeper = await QueueKeeper.open(setting);
  const publisher = await BarePublisher.open(setting.publisherUrl);
  return {
    async round(n) {
      await keeper.empty();
      const messages = publisher.prepare(newMessages(n));
      const watch = new Stopwatch();
      await publisher[way](messages);
      return watch.stop(n);
    },
    async stop() {
      await publisher.close();
      await keeper.close();
    },
  };
}
