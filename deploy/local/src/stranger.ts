import { randomUUID } from 'node:crypto';
import { connect } from 'amqplib';

/**
 * Another service of the platform, which orders an instance for a customer of its own. It knows the mesh from the page
 * of its messages alone: nothing of ours is imported here, as nothing of ours would be there.
 */
export interface Wish {
  readonly instanceId: string;
  readonly slug: string;
  readonly adminLogin: string;
  /** passlib's pbkdf2_sha512; the password itself is never in a message. */
  readonly adminPasswordHash: string;
}

/** Publishes one `InstanceRequested`. Resolves when the broker has confirmed it; rejects when it refuses it. */
export async function publishRequest(amqpUrl: string, wish: Wish): Promise<void> {
  const message = {
    specversion: '1.0',
    id: randomUUID(),
    source: 'signup',
    type: 'mesh.instance.requested.v1',
    time: new Date().toISOString(),
    datacontenttype: 'application/json',
    data: {
      ...wish,
      customerId: 'c-1042',
      plan: 'business',
      odooVersion: '18.0',
      company: 'ACME Ltd',
      country: 'ZW',
    },
  };
  const connection = await connect(amqpUrl, { timeout: 10_000 });
  try {
    const channel = await connection.createConfirmChannel();
    const refused = new Promise<never>((_, reject) => channel.once('error', reject));
    channel.publish('mesh.events', 'instance.requested.v1', Buffer.from(JSON.stringify(message)), {
      persistent: true,
      contentType: 'application/cloudevents+json',
    });
    await Promise.race([channel.waitForConfirms(), refused]);
  } finally {
    await connection.close();
  }
}
