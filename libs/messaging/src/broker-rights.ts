import { type Service, topicWritePattern } from '#contracts/index.js';
import { eventsExchange } from './topology.js';

/** What one broker user may do in the mesh's vhost: regular expressions over the names of queues and exchanges. */
export interface BrokerRights {
  readonly configure: string;
  readonly write: string;
  readonly read: string;
  /** Which routing keys it may publish on `mesh.events`. */
  readonly topics: string;
}

const exactly = (...names: string[]) => `^(${names.map((name) => name.replaceAll('.', '\\.')).join('|')})$`;

/**
 * The least a service can work with: its own queues and exchanges, reading events, and saying what only it may say.
 * The gateway reads everybody's parked messages and what nobody bound, and puts replayed ones back into their queues
 * through the default exchange.
 */
export function rightsOf(service: Service): BrokerRights {
  const own = `${service}\\..*`;
  const topics = topicWritePattern(service);
  if (service === 'api-gateway')
    return {
      configure: `^(${own}|[a-z-]+\\.parked|mesh\\..*)$`,
      write: `^(${own}|[a-z-]+\\.parked|mesh\\..*|amq\\.default)$`,
      read: `^(${own}|[a-z-]+\\.parked|mesh\\..*)$`,
      topics,
    };
  return {
    configure: `^${own}$`,
    write: `^(${own}|mesh\\.(events|republish))$`,
    read: `^(${own}|mesh\\.(events|republish))$`,
    topics,
  };
}

/** Another service of the platform: it may ask for things, and say or read nothing else. */
export function rightsOfStranger(requestKeys: readonly string[]): BrokerRights {
  return { configure: '^$', write: exactly(eventsExchange), read: '^$', topics: exactly(...requestKeys) };
}
