import { connect } from 'amqplib';

/**
 * Hears what is said in a mesh from now on, through a queue that ends with the connection. Needs a broker user who may
 * make queues. Only facts by name: a queue bound to everything would hide from the mesh what nobody else binds.
 * @returns what ends it.
 */
export async function listen(
  vhostUrl: string,
  keys: readonly string[],
  hear: (key: string, body: string) => void,
): Promise<() => Promise<void>> {
  const connection = await connect(vhostUrl, { timeout: 10_000 });
  connection.on('error', () => {}); // whoever listens waits for an end, and sees that none comes
  const stop = () => connection.close().catch(() => {});
  try {
    const channel = await connection.createChannel();
    const { queue } = await channel.assertQueue('', { exclusive: true });
    for (const key of keys) await channel.bindQueue(queue, 'mesh.events', key);
    await channel.consume(
      queue,
      (message) => {
        if (message) hear(message.fields.routingKey, message.content.toString());
      },
      { noAck: true },
    );
    return stop;
  } catch (error) {
    await stop();
    throw error;
  }
}
