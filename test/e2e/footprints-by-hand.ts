import { newId } from '#contracts/index.js';
import type { KubernetesObject } from '#kubernetes/index.js';
import {
  type FootprintSpec,
  findPlan,
  footprintNames,
  odooConf,
  secretManifest,
  volumeClaimManifest,
} from '#odoo/index.js';
import { cloneTemplate, ensureTenantRole, Shard } from '#tenant-databases/index.js';
import { waitFor } from '#testing/wait-for.js';
import { stackEnvironment } from './config.js';
import type { TestMesh } from './test-mesh.js';

// biome-ignore lint/suspicious/noExplicitAny: as a stranger reads it
type Said = any;

/** What a restore fills and an instance is switched to, and what provisioner and backup say of it, without the two. */
export class FootprintsByHand {
  private readonly shard: Shard;

  constructor(private readonly mesh: TestMesh) {
    this.shard = new Shard('local', mesh.installed.shardUrl, mesh.name);
  }

  async close(): Promise<void> {
    await this.shard.close();
  }

  /**
   * Objects, role and a filled database, and the word that they stand.
   * @param of the instance that it is for, as `instance.ready` told of it.
   * @param where another cell. `change` is of the fact alone.
   */
  async make(
    of: Said,
    where: { readonly cell: string; readonly namespace: string } = of,
    change: Record<string, unknown> = {},
  ) {
    const footprintId = newId();
    const names = footprintNames(this.mesh.name, footprintId);
    const { cell, namespace } = where;
    const { databaseShard, template, instanceId } = of;
    const plan = (change.plan ?? of.plan) as { name: string; version: number };
    const ready = {
      ...{ footprintId, purpose: 'restore', cell, namespace, databaseShard, template, plan },
      ...{ sourceInstanceId: instanceId, database: names.database, role: names.role },
      ...{ secret: names.secret, volumeClaim: names.object, ...change },
    };
    const spec = this.specOf(ready);
    const password = 'of-a-footprint-made-by-hand';
    const { host: databaseHost, port: databasePort } = this.shard.address;
    const conf = odooConf({
      ...{ databaseHost, databasePort, database: names.database, role: names.role },
      ...{ password, adminPassword: 'nobody' },
      ...{ databasePool: spec.plan.databasePool, memoryLimitBytes: spec.plan.memoryLimitBytes },
    });
    await this.mesh.cluster.create(secretManifest(spec, conf, password) as KubernetesObject, 'mesh-footprint');
    await this.mesh.cluster.apply(volumeClaimManifest(spec) as KubernetesObject, 'mesh-footprint');
    const tenant = { name: names.role, footprintId, epoch: 1 };
    await ensureTenantRole(this.shard, tenant, { password, connectionLimit: spec.plan.databaseConnections });
    await cloneTemplate(this.shard, tenant, template.database);
    await this.say('footprint.ready.v1', ready);
    await this.heard('ready IS NOT NULL', footprintId);
    return ready;
  }

  async sayRemoved(footprintId: string): Promise<void> {
    await this.say('footprint.removed.v1', { footprintId, purpose: 'restore' });
    await this.heard('removed_at IS NOT NULL', footprintId);
  }

  /** Requests come by another queue, and could be quicker. */
  private async heard(what: string, footprintId: string): Promise<void> {
    const sql = `SELECT 1 FROM lifecycle.footprint WHERE footprint_id = $1 AND ${what}`;
    const isHeard = async () => (await this.mesh.sql(sql, [footprintId])).length > 0;
    await this.mesh.explained(waitFor(`lifecycle to hear of footprint ${footprintId}: ${what}`, isHeard));
  }

  private async say(key: string, data: { readonly footprintId: string; readonly purpose: string }): Promise<void> {
    const message = {
      ...{ specversion: '1.0', id: newId(), source: 'provisioner', type: `mesh.${key}` },
      ...{ subject: data.footprintId, sequence: Date.now(), data },
    };
    await this.mesh.publish(message, { key, as: 'provisioner' });
  }

  private specOf({ footprintId, cell, namespace, template, plan }: Said): FootprintSpec {
    return {
      ...{ meshName: this.mesh.name, footprintId, cell, namespace, tenant: null, epoch: 1, replicas: 0 },
      names: footprintNames(this.mesh.name, footprintId),
      plan: findPlan(plan.name, plan.version)!,
      entry: { scheme: 'http' },
      ...{ image: template.image, templateDatabase: template.database },
      storageClass: stackEnvironment().MESH_STORAGE_CLASS,
    };
  }
}
