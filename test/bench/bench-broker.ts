import { type Channel, type ChannelModel, connect } from 'amqplib';
import { InstanceRequested } from '#contracts/index.js';
import { declareService, defaultRetryLevels, namesOf } from '#messaging/index.js';
import { createTestBroker } from '#testing/broker.js';

/** A vhost in which the gateway asks for instances and the planner's queue takes the requests. */
export interface BenchBroker {
  readonly publisherUrl: string;
  readonly consumerUrl: string;
  readonly adminUrl: string;
}

/** The planner's own queue, with all its arguments: both sides of each bench fill and empty the same one. */
export const queue = namesOf('capacity-planner').requests;

export async function setUpBroker(): Promise<{ setting: BenchBroker; tearDown(): Promise<void> }> {
  const broker = await createTestBroker('bench', ['api-gateway', 'capacity-planner']);
  const setting = {
    publisherUrl: broker.urlOf('api-gateway'),
    consumerUrl: broker.urlOf('capacity-planner'),
    adminUrl: broker.adminUrl,
  };
  const connection = await connect(setting.consumerUrl);
  await declareService(
    await connection.createChannel(),
    'capacity-planner',
    [InstanceRequested],
    defaultRetryLevels,
  ).finally(() => connection.close());
  return { setting, tearDown: () => broker.drop() };
}

/** The administrator's eyes on the queue, between rounds. */
export class QueueKeeper {
  private constructor(
    private readonly connection: ChannelModel,
    private readonly channel: Channel,
  ) {}

  static async open({ adminUrl }: BenchBroker): Promise<QueueKeeper> {
    const connection = await connect(adminUrl);
    return new QueueKeeper(connection, await connection.createChannel());
  }

  /** @returns how many were waiting. */
  async empty(): Promise<number> {
    return (await this.channel.purgeQueue(queue)).messageCount;
  }

  async close(): Promise<void> {
    await this.connection.close();
  }
}
