import { randomBytes } from 'node:crypto';
import type { Service } from '#contracts/index.js';
import { installBroker, rightsOf, uninstallBroker } from '#messaging/index.js';
import { stackAddresses } from './config.js';

/** A vhost of its own with users of its own; nothing is shared with another test. */
export interface TestBroker {
  readonly vhost: string;
  /** AMQP address for one of the services, with just the rights it has in production. */
  urlOf(service: Service): string;
  /** The administrator's, in this vhost: for looking, and for playing a stranger. */
  readonly adminUrl: string;
  /** The service's user may not say this key any more; new rights hold for new channels. */
  forbid(service: Service, key: string): Promise<void>;
  /** It has its rights again. */
  allow(service: Service): Promise<void>;
  drop(): Promise<void>;
}

/** The real broker of the stack, a fresh vhost, and one user for each of `services`. */
export async function createTestBroker(prefix: string, services: readonly Service[]): Promise<TestBroker> {
  const { rabbitmqUrl, rabbitmqManagementUrl } = stackAddresses();
  const vhost = `${prefix}-${randomBytes(4).toString('hex')}`;
  const users = services.map((service) => ({
    service,
    name: `${vhost}-${service}`,
    password: randomBytes(12).toString('hex'),
    rights: rightsOf(service),
  }));
  const install = (these: typeof users) =>
    installBroker({ managementUrl: rabbitmqManagementUrl, amqpUrl: rabbitmqUrl, vhost, users: these });
  await install(users);
  const at = (username?: string, password?: string) => {
    const url = new URL(rabbitmqUrl);
    url.pathname = `/${vhost}`;
    if (username !== undefined) url.username = username;
    if (password !== undefined) url.password = password;
    return url.toString();
  };
  return {
    vhost,
    adminUrl: at(),
    urlOf: (service) => {
      const user = users.find((one) => one.service === service);
      if (!user) throw new Error(`this test broker has no user for ${service}`);
      return at(user.name, user.password);
    },
    forbid: (service, key) =>
      install(
        users
          .filter((one) => one.service === service)
          .map(({ rights, ...user }) => ({
            ...user,
            rights: { ...rights, topics: `^(?!${key.replaceAll('.', '\\.')}$)` },
          })),
      ),
    allow: (service) => install(users.filter((one) => one.service === service)),
    drop: () =>
      uninstallBroker(
        rabbitmqManagementUrl,
        vhost,
        users.map(({ name }) => name),
      ),
  };
}
