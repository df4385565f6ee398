import type { ModuleRef } from '@nestjs/core';
import { InstanceRequested } from '#contracts/index.js';
import {
  Asked,
  BrokerConnection,
  defaultAskAgainMs,
  defaultRetryLevels,
  MessageHandler,
  Outbox,
  on,
  usersOfTheMesh,
} from '#messaging/index.js';
import { RabbitTransport } from '#messaging/transport.js';
import { startTracing } from '#observability/index.js';
import type { Database } from '#persistence/index.js';
import { BarePublisher } from './bare-publisher.js';
import type { Running } from './bench.js';
import { type BenchBroker, QueueKeeper } from './bench-broker.js';
import { newMessages } from './messages.js';
import { Stopwatch } from './stopwatch.js';

class DoNothing extends MessageHandler {
  onFirst: () => void = () => {};

  async handle(): Promise<void> {
    this.onFirst();
  }
}

/** The planner's transport as it is, with a handler that does nothing, on the queue that was filled before. */
export function hostTransport(setting: BenchBroker, prefetch: number, open: () => Promise<Database>) {
  return async (): Promise<Running> => {
    startTracing({ service: 'bench' }); // as a service without a collector has it: spans, none of them kept
    const keeper = await QueueKeeper.open(setting);
    const publisher = await BarePublisher.open(setting.publisherUrl);
    const database = await open();
    const asked = new Asked(database, defaultAskAgainMs);
    const outbox = new Outbox(database, 'capacity-planner', asked);
    const handler = new DoNothing();
    const modules = { get: () => handler } as unknown as ModuleRef;
    const userOf = usersOfTheMesh(decodeURIComponent(new URL(setting.consumerUrl).username), 'capacity-planner');
    const troubles: unknown[] = [];
    const onTrouble = (what: string, error: unknown) =>
      void troubles.push(new Error(`${what}: ${error}`, { cause: error }));
    const connection = new BrokerConnection({ url: setting.consumerUrl, name: 'bench transport', onTrouble });
    await connection.start();
    return {
      async round(n) {
        await keeper.empty();
        await publisher.publish(publisher.prepare(newMessages(n)));
        let watch: Stopwatch | undefined;
        handler.onFirst = () => {
          watch ??= new Stopwatch();
        };
        let handled = 0;
        let finish: () => void = () => {};
        const all = new Promise<void>((resolve) => {
          finish = resolve;
        });
        const transport = new RabbitTransport(
          {
            service: 'capacity-planner',
            subscriptions: [on(InstanceRequested, DoNothing)],
            levels: defaultRetryLevels,
            userOf,
            prefetch,
            onTrouble,
            onMissingQueues: async () => {},
            onQueuesMade: async () => {},
            onFailed: () => onTrouble('a message failed', undefined),
            onHandled: () => {
              handled += 1;
              if (handled === n) finish();
            },
          },
          modules,
          database,
          outbox,
          asked,
          connection,
        );
        await new Promise<void>((resolve, reject) => {
          transport.listen((error) => (error ? reject(error) : resolve()));
        });
        await all;
        const measured = watch!.stop(n);
        await transport.drain();
        const left = await keeper.empty();
        if (left > 0 || troubles.length > 0)
          throw new Error(`${left} messages were left, troubles: ${troubles.join('; ') || 'none'}`);
        return measured;
      },
      async stop() {
        await connection.close();
        await publisher.close();
        await keeper.close();
        await database.close();
      },
    };
  };
}

/** Every message is new, and every transaction ends at once. */
export async function noDatabase(): Promise<Database> {
  const tx = { query: async () => [{}], afterCommit() {} };
  const database = {
    transaction: (work: (one: typeof tx) => Promise<unknown>) => work(tx),
    close: async () => {},
  };
  return database as unknown as Database;
}
