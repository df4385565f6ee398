import { Asked, BrokerConnection, defaultAskAgainMs, eventsExchange, Outbox } from '#messaging/index.js';
import { OutboxRelay } from '#messaging/outbox-relay.js';
import type { Database, Transaction } from '#persistence/index.js';
import { BarePublisher } from './bare-publisher.js';
import { bench, type Running } from './bench.js';
import { type BenchBroker, QueueKeeper, setUpBroker } from './bench-broker.js';
import { type BenchDatabase, openDatabase, setUpDatabase } from './bench-database.js';
import { newMessages, routingKey, traceparent } from './messages.js';
import { Stopwatch } from './stopwatch.js';

export const relay = bench<BenchBroker & BenchDatabase>({
  name: 'relay',
  says: 'the relay empties an outbox of 1 KB messages',
  size: {
    full: { n: 30_000, rounds: 5, warmUp: 5_000, minutes: 0.8 },
    quick: { n: 3_000, rounds: 3, warmUp: 1_000, minutes: 0.4 },
  },
  async setUp() {
    const [broker, database] = await Promise.all([setUpBroker(), setUpDatabase('api_gateway')]);
    return {
      setting: { ...broker.setting, ...database.setting },
      tearDown: async () => void (await Promise.all([broker.tearDown(), database.tearDown()])),
    };
  },
  contenders: { relay: { start: startRelay }, bare: { start: startBare } },
  comparisons: [
    {
      says: 'outbox to confirmed, against bare publishing',
      quantity: 'perSecond',
      ours: 'relay',
      reference: 'bare',
      goal: { of: 'ratio', is: 'at least', value: 0.8 },
    },
    {
      says: 'outbox to confirmed, against bare publishing',
      quantity: 'cpuMicrosEach',
      ours: 'relay',
      reference: 'bare',
    },
  ],
  notes: [
    'From the begin of the first transaction that finds rows to the COMMIT of the one that deletes the last.',
    'Bare publishes the same bodies from memory, 500 unconfirmed at any time: it reads and deletes nothing.',
  ],
});

async function startRelay(setting: BenchBroker & BenchDatabase): Promise<Running> {
  const keeper = await QueueKeeper.open(setting);
  const database = await openDatabase(setting);
  const watched = new WatchedDatabase(database);
  const outbox = new Outbox(database, 'api-gateway', new Asked(database, defaultAskAgainMs));
  const trouble = (what: string, error: unknown) => watched.fail(new Error(`${what}: ${error}`, { cause: error }));
  const connection = new BrokerConnection({ url: setting.publisherUrl, name: 'bench relay', onTrouble: trouble });
  const user = decodeURIComponent(new URL(setting.publisherUrl).username);
  const running = new OutboxRelay(watched.asDatabase(), outbox, connection, user, trouble);
  await connection.start();
  running.start();
  return {
    async round(n) {
      await keeper.empty();
      const messages = newMessages(n);
      const drained = watched.expect(n);
      await database.query(
        `INSERT INTO outbox (message_id, exchange, routing_key, body, traceparent)
         SELECT id, $1, $2, body, $3 FROM unnest($4::uuid[], $5::text[]) AS message (id, body)`,
        [eventsExchange, routingKey, traceparent, messages.map(({ id }) => id), messages.map(({ body }) => body)],
      );
      outbox.onCommit();
      return (await drained).stop(n);
    },
    async stop() {
      await running.drain();
      await connection.close();
      await database.close();
      await keeper.close();
    },
  };
}

/** Tells when the relay has found its first rows and committed its last. */
class WatchedDatabase {
  private expected = 0;
  private watch: Stopwatch | undefined;
  private drained: (watch: Stopwatch) => void = () => {};
  fail: (error: Error) => void = () => {};

  constructor(private readonly database: Database) {}

  expect(n: number): Promise<Stopwatch> {
    this.expected = n;
    this.watch = undefined;
    return new Promise((resolve, reject) => {
      this.drained = resolve;
      this.fail = reject;
    });
  }

  asDatabase(): Database {
    const watched = {
      connect: () => this.database.connect(),
      transaction: async <T>(work: (tx: Transaction) => Promise<T>) => {
        const begun = new Stopwatch();
        let found = 0;
        const result = await this.database.transaction((tx) =>
          work({
            ...tx,
            query: async (sql, parameters) => {
              const rows = await tx.query(sql, parameters);
              found += rows.length;
              return rows as never;
            },
          }),
        );
        if (found > 0) this.watch ??= begun;
        this.expected -= found;
        if (this.watch && this.expected === 0) this.drained(this.watch);
        return result;
      },
    };
    return watched as unknown as Database;
  }
}

async function startBare(setting: BenchBroker): Promise<Running> {
  const keeper = await QueueKeeper.open(setting);
  const publisher = await BarePublisher.open(setting.publisherUrl);
  return {
    async round(n) {
      await keeper.empty();
      const messages = publisher.prepare(newMessages(n));
      const watch = new Stopwatch();
      await publisher.publish(messages);
      return watch.stop(n);
    },
    async stop() {
      await publisher.close();
      await keeper.close();
    },
  };
}
