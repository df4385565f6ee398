import type { ModuleRef } from '@nestjs/core';
import { InstanceRequested, InstanceTerminated } from '#contracts/index.js';
import {
  Asked,
  BrokerConnection,
  type ConsumeContext,
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
import { type BenchBroker, factQueue, QueueKeeper, queue } from './bench-broker.js';
import { newFact, newMessage } from './messages.js';
import { Stopwatch } from './stopwatch.js';

/** What a message is to the bench: nothing, or a row that is written in its transaction. */
type Effect = (ctx: ConsumeContext) => Promise<unknown>;

class Handler extends MessageHandler {
  onFirst: () => void = () => {};

  constructor(private readonly effect: Effect) {
    super();
  }

  async handle(_: unknown, ctx: ConsumeContext): Promise<void> {
    this.onFirst();
    await this.effect(ctx);
  }
}

export interface Hosted {
  readonly prefetch: number;
  readonly open: () => Promise<Database>;
  /** Default: requests. */
  readonly facts?: 'one by one' | 'in batches';
  /** Default: none. */
  readonly effect?: Effect;
}

/** The planner's transport as it is, on the queue that was filled before. */
export function hostTransport(setting: BenchBroker, { prefetch, open, facts, effect = async () => {} }: Hosted) {
  return async (): Promise<Running> => {
    startTracing({ service: 'bench' }); // as a service without a collector has it: spans, none of them kept
    const keeper = await QueueKeeper.open(setting);
    const publisher = await BarePublisher.open(facts ? setting.factPublisherUrl : setting.publisherUrl);
    const [from, key, newOne] = facts
      ? ([factQueue, InstanceTerminated.key, newFact] as const)
      : ([queue, InstanceRequested.key, newMessage] as const);
    const subscription = facts
      ? on(InstanceTerminated, Handler, { batch: facts === 'in batches' })
      : on(InstanceRequested, Handler);
    const database = await open();
    const asked = new Asked(database, defaultAskAgainMs);
    const outbox = new Outbox(database, 'capacity-planner', asked);
    const handler = new Handler(effect);
    const modules = { get: () => handler } as unknown as ModuleRef;
    const userOf = usersOfTheMesh(decodeURIComponent(new URL(setting.consumerUrl).username), 'capacity-planner');
    const troubles: unknown[] = [];
    const onTrouble = (what: string, error: unknown) =>
      void troubles.push(new Error(`${what}: ${error}`, { cause: error }));
    const connection = new BrokerConnection({ url: setting.consumerUrl, name: 'bench transport', onTrouble });
    await connection.start();
    return {
      async round(n) {
        await keeper.empty(from);
        await publisher.publish(publisher.prepare(Array.from({ length: n }, newOne)), key);
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
            subscriptions: [subscription],
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
        const left = await keeper.empty(from);
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
  const tx = { queryPrepared: async () => [{}], afterCommit() {} };
  const database = {
    transaction: (work: (one: typeof tx) => Promise<unknown>) => work(tx),
    close: async () => {},
  };
  return database as unknown as Database;
}
