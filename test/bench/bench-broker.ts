import { type Channel, type ChannelModel, connect } from 'amqplib';
import { InstanceRequested, InstanceTerminated } from '#contracts/index.js';
import { declareService, defaultRetryLevels, namesOf } from '#messaging/index.js';
import { createTestBroker } from '#testing/broker.js';

/** A vhost in which the gateway asks for instances, the provisioner says facts, and the planner's queues take both. */
export interface BenchBroker {
  readonly publisherUrl: string;
  readonly factPublisherUrl: string;
  readonly consumerUrl: string;
  readonly adminUrl: string;
}

/** The planner's own queues, with all their arguments: both sides of each bench fill and empty the same one. */
export const { requests: queue, facts: factQueue } = namesOf('capacity-planner');

export async function setUpBroker(): Promise<{ setting: BenchBroker; tearDown(): Promise<void> }> {
  const broker = await createTestBroker('bench', ['api-gateway', 'capacity-planner', 'provisioner']);
  const setting = {
    publisherUrl: broker.urlOf('api-gateway'),
    factPublisherUrl: broker.urlOf('provisioner'),
    consumerUrl: broker.urlOf('capacity-planner'),
    adminUrl: broker.adminUrl,
  };
  const connection = await connect(setting.consumerUrl);
  await declareService(
    await connection.createChannel(),
    'capacity-planner',
    [InstanceRequested, InstanceTerminated],
    defaultRetryLevels,
  ).finally(() => connection.close());
  return { setting, tearDown: () => broker.drop() };
}

/** The administrator's eyes on a queue, between rounds. */
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
  async empty(which = queue): Promise<number> {
    return (await this.channel.purgeQueue(which)).messageCount;
  }

  async close(): Promise<void> {
    await this.connection.close();
  }
}
