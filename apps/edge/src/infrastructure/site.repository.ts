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
      `SELECT host, state, reason FROM site
       WHERE host = $1 OR (custom_domains <> '{}' AND custom_domains @> ARRAY[$1])
       ORDER BY heard_at DESC LIMIT 1`,
      [host],
    );
    return site;
  }

  async nowOf(host: string): Promise<string | undefined> {
    const [found] = await this.database.query<{ host: string | null }>(
      'SELECT site.host FROM former_host JOIN site USING (instance_id) WHERE former_host.host = $1',
      [host],
    );
    return found?.host ?? undefined;
  }

  async learn(
    tx: Transaction,
    instanceId: string,
    weight: Weight,
    { host, state, reason }: Site,
    customDomains: readonly string[] = [],
  ): Promise<void> {
    await this.put(tx, instanceId, weight, host, state, reason, customDomains);
  }

  /** The row stays, without its hosts: a fact that comes late does not bring the instance back. */
  async end(tx: Transaction, instanceId: string, weight: Weight): Promise<void> {
    await this.put(tx, instanceId, weight, null, 'terminated', null, []);
  }

  private async put(
    tx: Transaction,
    ...values: readonly (string | number | null | readonly string[])[]
  ): Promise<void> {
    await tx.queryPrepared(
      `WITH before AS (SELECT host FROM site WHERE instance_id = $1),
       put AS (
         INSERT INTO site (instance_id, weight, host, state, reason, custom_domains) VALUES ($1, $2, $3, $4, $5, $6)
         ON CONFLICT (instance_id) DO UPDATE SET weight = excluded.weight, host = excluded.host,
           state = excluded.state, reason = excluded.reason, custom_domains = excluded.custom_domains,
           heard_at = now()
           WHERE site.weight <= excluded.weight
         RETURNING instance_id, host),
       former AS (
         INSERT INTO former_host (host, instance_id)
         SELECT before.host, put.instance_id FROM before, put WHERE before.host <> put.host
         ON CONFLICT (host) DO UPDATE SET instance_id = excluded.instance_id)
       DELETE FROM former_host USING put
       WHERE former_host.host = put.host OR (put.host IS NULL AND former_host.instance_id = put.instance_id)`,
      values,
    );
  }
}
