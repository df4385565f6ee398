import type { Transaction } from '#persistence/index.js';
import type { Site, Weight } from '../domain/site.js';

/** What is known of each instance. */
export abstract class Sites {
  /** The instance that has this host. Throws when it cannot be looked up. */
  abstract at(host: string): Promise<Site | undefined>;
  /** Keeps what was told, unless what was told before counts more. Facts of one type have to come in their order. */
  abstract learn(tx: Transaction, instanceId: string, weight: Weight, site: Site): Promise<void>;
  /** Nobody has its host any more, whatever else is heard of it later. */
  abstract end(tx: Transaction, instanceId: string, weight: Weight): Promise<void>;
}
