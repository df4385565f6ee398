import { connect } from 'amqplib';
import { BarePublisher } from './bare-publisher.js';
import { bench, type Running } from './bench.js';
import { type BenchBroker, QueueKeeper, queue, setUpBroker } from './bench-broker.js';
import { type BenchDatabase, openInbox, setUpDatabase } from './bench-database.js';
import { newMessages } from './messages.js';
import { Stopwatch } from './stopwatch.js';
import { hostTransport, noDatabase } from './transport-host.js';

const prefetch = 250;

export const consume = bench<BenchBroker & BenchDatabase>({
  name: 'consume',
  says: '1 KB messages of a quorum queue to a handler that does nothing, each acknowledged, prefetch 250',
  size: {
    full: { n: 30_000, rounds: 5, warmUp: 10_000, minutes: 0.9 },
    quick: { n: 4_000, rounds: 3, warmUp: 1_000, minutes: 0.4 },
  },
  async setUp() {
    const [broker, database] = await Promise.all([setUpBroker(), setUpDatabase('capacity_planner')]);
    return {
      setting: { ...broker.setting, ...database.setting },
      tearDown: async () => void (await Promise.all([broker.tearDown(), database.tearDown()])),
    };
  },
  contenders: {
    transport: { start: (setting) => hostTransport(setting, { prefetch, open: noDatabase })() },
    bare: { start: startBare },
    'transport with inbox': {
      share: 0.2,
      start: (setting) => hostTransport(setting, { prefetch, open: () => openInbox(setting) })(),
    },
  },
  comparisons: [
    {
      says: 'without a database',
      quantity: 'perSecond',
      ours: 'transport',
      reference: 'bare',
      goal: { of: 'ratio', is: 'at least', value: 0.6 },
    },
    { says: 'without a database', quantity: 'cpuMicrosEach', ours: 'transport', reference: 'bare' },
    { says: 'with the inbox transaction', quantity: 'perSecond', ours: 'transport with inbox', reference: 'bare' },
    { says: 'with the inbox transaction', quantity: 'cpuMicrosEach', ours: 'transport with inbox', reference: 'bare' },
  ],
  notes: [
    'The transport is the real one: envelope and data are validated, forgeries looked for, a span started that is not kept.',
    'Without a database the inbox transaction is a stub that ends at once: the figure is what our code costs, not what a service reaches.',
    'With the inbox each message is one transaction with one INSERT (pool of 10 connections).',
  ],
});

async function startBare(setting: BenchBroker): Promise<Running> {
  const keeper = await QueueKeeper.open(setting);
  const publisher = await BarePublisher.open(setting.publisherUrl);
  const connection = await connect(setting.consumerUrl);
  return {
    async round(n) {
      await keeper.empty();
      await publisher.publish(publisher.prepare(newMessages(n)));
      const channel = await connection.createChannel();
      await channel.prefetch(prefetch);
      let watch: Stopwatch | undefined;
      let taken = 0;
      await new Promise<void>((resolve, reject) => {
        channel
          .consume(queue, (message) => {
            watch ??= new Stopwatch();
            channel.ack(message!);
            taken += 1;
            if (taken === n) resolve();
          })
          .catch(reject);
      });
      const measured = watch!.stop(n);
      await channel.close();
      return measured;
    },
    async stop() {
      await connection.close();
      await publisher.close();
      await keeper.close();
    },
  };
}
