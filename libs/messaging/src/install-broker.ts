import { connect } from 'amqplib';
import type { BrokerRights } from './broker-rights.js';
import { declareShared, eventsExchange } from './topology.js';

export interface BrokerInstallation {
  /** The management API with an administrator's credentials, `http://user:password@host:port`. */
  readonly managementUrl: string;
  /** The same broker and administrator over AMQP; the path is ignored. */
  readonly amqpUrl: string;
  readonly vhost: string;
  /** Names of users are global in a broker, so they carry the mesh's name. */
  readonly users: readonly { readonly name: string; readonly password: string; readonly rights: BrokerRights }[];
}

/**
 * The mesh's vhost with its shared exchange, its users and what each may do. Idempotent: run it again to mend or to
 * change passwords. Needs an administrator, and is the only code that does.
 */
export async function installBroker(installation: BrokerInstallation): Promise<void> {
  const { managementUrl, vhost, users } = installation;
  const administrator = decodeURIComponent(new URL(managementUrl).username);
  const path = encodeURIComponent(vhost);
  await manage(managementUrl, 'PUT', `vhosts/${path}`, {});
  await manage(managementUrl, 'PUT', `permissions/${path}/${encodeURIComponent(administrator)}`, {
    configure: '.*',
    write: '.*',
    read: '.*',
  });

  const url = new URL(installation.amqpUrl);
  url.pathname = `/${path}`;
  const connection = await connect(url.toString(), { timeout: 10_000 });
  try {
    await declareShared(await connection.createChannel());
  } finally {
    await connection.close();
  }

  for (const { name, password, rights } of users) {
    const user = encodeURIComponent(name);
    await manage(managementUrl, 'PUT', `users/${user}`, { password, tags: '' });
    const { configure, write, read } = rights;
    await manage(managementUrl, 'PUT', `permissions/${path}/${user}`, { configure, write, read });
    await manage(managementUrl, 'PUT', `topic-permissions/${path}/${user}`, {
      exchange: eventsExchange,
      write: rights.topics,
      read: '.*',
    });
  }
}

/** Removes the vhost with everything in it, and the users. Asking twice is fine. */
export async function uninstallBroker(managementUrl: string, vhost: string, users: readonly string[]): Promise<void> {
  await manage(managementUrl, 'DELETE', `vhosts/${encodeURIComponent(vhost)}`);
  for (const user of users) await manage(managementUrl, 'DELETE', `users/${encodeURIComponent(user)}`);
}

async function manage(managementUrl: string, method: string, path: string, body?: object): Promise<void> {
  const { username, password, origin } = new URL(managementUrl);
  const credentials = `${decodeURIComponent(username)}:${decodeURIComponent(password)}`;
  const response = await fetch(`${origin}/api/${path}`, {
    method,
    headers: {
      authorization: `Basic ${Buffer.from(credentials).toString('base64')}`,
      'content-type': 'application/json',
    },
    ...(body && { body: JSON.stringify(body) }),
    signal: AbortSignal.timeout(15_000),
  });
  if (response.ok || (method === 'DELETE' && response.status === 404)) return;
  throw new Error(`RabbitMQ's management API refused ${method} ${path}: ${response.status} ${await response.text()}`);
}
