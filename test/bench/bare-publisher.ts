import { type ChannelModel, type ConfirmChannel, connect } from 'amqplib';
import { eventsExchange, propertiesOf } from '#messaging/index.js';
import { type Message, routingKey, traceparent } from './messages.js';

export const publishWindow = 500;

interface Prepared {
  readonly body: Buffer;
  readonly properties: ReturnType<typeof propertiesOf>;
}

/** What somebody writes who knows amqplib well and wants nothing but speed: the reference of all that is sent. */
export class BarePublisher {
  private constructor(
    private readonly connection: ChannelModel,
    private readonly channel: ConfirmChannel,
    private readonly userId: string,
  ) {}

  static async open(url: string): Promise<BarePublisher> {
    const connection = await connect(url);
    const userId = decodeURIComponent(new URL(url).username);
    return new BarePublisher(connection, await connection.createConfirmChannel(), userId);
  }

  /** Everything that can be made before it is sent. */
  prepare(messages: readonly Message[]): Prepared[] {
    return messages.map(({ id, body }) => ({
      body: Buffer.from(body),
      properties: propertiesOf({ id, userId: this.userId, traceparent }),
    }));
  }

  /** As many unconfirmed as the window holds, at any time. Resolves when all are confirmed. */
  async publish(messages: readonly Prepared[], key = routingKey): Promise<void> {
    await new Promise<void>((resolve, reject) => {
      let next = 0;
      let confirmed = 0;
      const send = () => {
        const message = messages[next++];
        if (!message) return;
        this.channel.publish(eventsExchange, key, message.body, message.properties, (error) => {
          if (error) return reject(error as Error);
          confirmed += 1;
          if (confirmed === messages.length) resolve();
          else send();
        });
      };
      for (let open = 0; open < publishWindow; open++) send();
    });
  }

  /** The same in batches: the next one is begun when all of the last one are confirmed. */
  async publishInBatches(messages: readonly Prepared[]): Promise<void> {
    for (let begun = 0; begun < messages.length; begun += publishWindow) {
      for (const { body, properties } of messages.slice(begun, begun + publishWindow))
        this.channel.publish(eventsExchange, routingKey, body, properties);
      await this.channel.waitForConfirms();
    }
  }

  async close(): Promise<void> {
    await this.connection.close();
  }
}
