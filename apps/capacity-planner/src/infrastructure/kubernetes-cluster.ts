import { Injectable } from '@nestjs/common';
import { KubernetesClient, type KubernetesObject } from '#kubernetes/index.js';
import { cellManifests } from '#odoo/index.js';
import { Cluster, PlannerSettings } from '../application/ports.js';
import type { Cell } from '../domain/placement.js';

const fieldManager = 'mesh-cell';

@Injectable()
export class KubernetesCluster extends Cluster {
  constructor(
    private readonly client: KubernetesClient,
    private readonly settings: PlannerSettings,
  ) {
    super();
  }

  async applyCell(cell: Cell, fence: () => void): Promise<void> {
    const { meshName, clusterNetworks, databases, objectStores, ingressNamespace, edge } = this.settings;
    const account = (serviceAccount: string) => ({ serviceAccount, namespace: `${meshName}-system` });
    const manifests = cellManifests({
      meshName,
      cell: cell.id,
      namespace: cell.namespace,
      places: cell.places,
      footprintWriters: [account('provisioner'), account('lifecycle')],
      jobRunners: [account('lifecycle')],
      backupRunners: [account('backup')],
      ingressNamespace,
      clusterNetworks,
      databases,
      objectStores,
      edge,
    });
    for (const manifest of manifests) await this.client.apply(manifest as KubernetesObject, fieldManager, { fence });
  }
}
