import type { Session } from './shard.js';

/**
 * An Odoo that runs on it reads its parameters anew, secret and uuid among them. After COMMIT and as a statement of its
 * own: before, a request in between would fill the cache with the old values again, and nothing would clear it any more
 * (facts: odoo-in-a-pod §8).
 */
export async function clearCaches(client: Session): Promise<void> {
  await client.query(`SELECT nextval('base_cache_signaling_default')`);
}
