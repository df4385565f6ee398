import { Injectable } from '@nestjs/common';
import { Database, type Transaction } from '#persistence/index.js';
import { Sites } from '../application/ports.js';
import type { Site, Weight } from '../domain/site.js';

@Injectable()
export class SiteRepository extends Sites {
  constructor(private readonly database: Database) {
    super();
  }

  async at(host: string): Promise<Site | undefined> {
    // A name is free again only after its instance is gone; of two that say they have it the last one does.
    const [site] = await this.database.query<Site>(
      'SELECT host, state, reason FROM site WHERE host = $1 ORDER BY heard_at DESC LIMIT 1',
      [host],
    );
    return site;
  }

  async learn(tx: Transaction, instanceId: string, weight: Weight, { host, state, reason }: Site): Promise<void> {
    await this.put(tx, instanceId, weight, host, state, reason);
  }

  /** The row stays, without its host: a fact that comes late does not bring the instance back. */
  async end(tx: Transaction, instanceId: string, weight: Weight): Promise<void> {
    await this.put(tx, instanceId, weight, null, 'terminated', null);
  }

  private async put(tx: Transaction, ...values: readonly (string | number | null)[]): Promise<void> {
    await tx.queryPrepared(
      `INSERT INTO site (instance_id, weight, host, state, reason) VALUES ($1, $2, $3, $4, $5)
       ON CONFLICT (instance_id) DO UPDATE SET weight = excluded.weight, host = excluded.host,
         state = excluded.state, reason = excluded.reason, heard_at = now()
         WHERE site.weight <= excluded.weight`,
      values,
    );
  }
}
