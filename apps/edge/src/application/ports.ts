import type { Transaction } from '#persistence/index.js';
import type { Site, Weight } from '../domain/site.js';

/** What is known of each instance. */
export abstract class Sites {
  /** The instance that has this host, as its own or as a domain of its customer's. Throws when it cannot be looked up. */
  abstract at(host: string): Promise<Site | undefined>;
  /** The host by which an instance is found now that was found at this one before. Throws when it cannot be looked up. */
  abstract nowOf(host: string): Promise<string | undefined>;
  /**
   * Keeps what was told, unless what was told before counts more. Facts of one type have to come in their order. A host
   * that an instance has no more is a former one of it, until somebody else has it.
   */
  abstract learn(
    tx: Transaction,
    instanceId: string,
    weight: Weight,
    site: Site,
    customDomains?: readonly string[],
  ): Promise<void>;
  /** Nobody has its hosts any more, whatever else is heard of it later. */
  abstract end(tx: Transaction, instanceId: string, weight: Weight): Promise<void>;
}
