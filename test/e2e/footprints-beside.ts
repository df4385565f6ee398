import { newId } from '#contracts/index.js';
import { cloneTemplate, dropTenantDatabase, Shard } from '#tenant-databases/index.js';
import { waitFor } from '#testing/wait-for.js';
import type { TestMesh } from './test-mesh.js';

// biome-ignore lint/suspicious/noExplicitAny: as a stranger reads it
type Said = any;

/** What a restore fills and an instance is switched to, asked for, filled and given up in the backup service's name. */
export class FootprintsBeside {
  private readonly shard: Shard;

  constructor(private readonly mesh: TestMesh) {
    this.shard = new Shard('local', mesh.installed.shardUrl, mesh.name);
  }

  async close(): Promise<void> {
    await this.shard.close();
  }

  /**
   * Ready, with an Odoo's database in it, and lifecycle has heard of it.
   * @param of the instance that it is for, as `instance.ready` told of it. `change` is of the request.
   */
  async make(of: Said, change: Record<string, unknown> = {}) {
    const { instanceId, template } = of;
    const wish = { footprintId: newId(), purpose: 'restore', instanceId, template, ...change };
    await this.asBackup('footprint.requested.v1', wish);
    const ready = await this.said('footprint.ready.v1', wish.footprintId);
    const tenant = { name: ready.role, footprintId: ready.footprintId, epoch: 1 };
    await dropTenantDatabase(this.shard, tenant, ready.database);
    await cloneTemplate(this.shard, tenant, template.database);
    // Requests come by another queue, and could be quicker.
    await this.heard('ready IS NOT NULL', ready.footprintId);
    return ready;
  }

  /** The same in another cell than where the instance lives. */
  async makeElsewhere(of: Said, change: Record<string, unknown> = {}) {
    const [before] = await this.mesh.sql<{ places: number }>('SELECT places FROM capacity_planner.cell WHERE id = $1', [
      of.cell,
    ]);
    await this.mesh.sql(
      'UPDATE capacity_planner.cell SET places = CASE WHEN id = $1 THEN reserved ELSE greatest(places, reserved + 5) END',
      [of.cell],
    );
    try {
      return await this.make(of, change);
    } finally {
      await this.mesh.sql('UPDATE capacity_planner.cell SET places = $2 WHERE id = $1', [of.cell, before!.places]);
    }
  }

  /** A fact that the provisioner never said. */
  async pretend(of: Said, change: Record<string, unknown>): Promise<string> {
    const footprintId = newId();
    const { cell, namespace, databaseShard, template, plan, instanceId, database, role, secret, volumeClaim } = of;
    const data = {
      ...{ footprintId, purpose: 'restore', cell, namespace, databaseShard, template, plan },
      ...{ sourceInstanceId: instanceId, database, role, secret, volumeClaim, ...change },
    };
    const key = 'footprint.ready.v1';
    const envelope = { specversion: '1.0', id: newId(), source: 'provisioner', type: `mesh.${key}` };
    const message = { ...envelope, subject: footprintId, sequence: Date.now(), data };
    await this.mesh.publish(message, { key, as: 'provisioner' });
    await this.heard('ready IS NOT NULL', footprintId);
    return footprintId;
  }

  async remove(footprintId: string): Promise<void> {
    await this.asBackup('footprint.removal-requested.v1', { footprintId, reason: 'a test wants it' });
    await this.removed(footprintId);
    await this.heard('removed_at IS NOT NULL', footprintId);
  }

  /** The provisioner's word that nothing is left of it. */
  async removed(footprintId: string): Promise<void> {
    await this.said('footprint.removed.v1', footprintId);
  }

  private async said(key: string, footprintId: string): Promise<Said> {
    const said = () => this.mesh.heard.find((one) => one.key === key && one.envelope.data.footprintId === footprintId);
    const heard = await this.mesh.explained(waitFor(`${key} of ${footprintId}`, said, { timeoutMs: 60_000 }));
    return heard.envelope.data;
  }

  private async heard(what: string, footprintId: string): Promise<void> {
    const sql = `SELECT 1 FROM lifecycle.footprint WHERE footprint_id = $1 AND ${what}`;
    const isHeard = async () => (await this.mesh.sql(sql, [footprintId])).length > 0;
    await this.mesh.explained(waitFor(`lifecycle to hear of footprint ${footprintId}: ${what}`, isHeard));
  }

  private async asBackup(key: string, data: Record<string, unknown>): Promise<void> {
    const time = new Date().toISOString();
    const message = { specversion: '1.0', id: newId(), source: 'backup', type: `mesh.${key}`, time, data };
    await this.mesh.publish(message, { key, as: 'backup' });
  }
}
