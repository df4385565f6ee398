import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { KubeConfig, type V1Service } from '@kubernetes/client-node';
import { KubernetesClient, type KubernetesObject } from '#kubernetes/index.js';
import { clusterManifests, meshEdgeManifests } from '#odoo/index.js';

/** The services that talk to the cluster, and the cluster-wide role each one is bound to; lifecycle works in cells alone. */
const accounts = {
  'capacity-planner': 'cell-writer',
  provisioner: 'volume-releaser',
  lifecycle: undefined,
  backup: 'volume-releaser',
} as const;
type Account = keyof typeof accounts;

const fieldManager = 'mesh-installation';

/** A token of the installation lives a week: long for a stack that is a laptop's, short for a file that leaks. */
const tokenSeconds = 7 * 24 * 3600;

/** Where a process on this machine answers. */
interface Address {
  readonly address: string;
  readonly port: number;
}

export interface InstalledCluster {
  /** The files' paths. */
  readonly kubeconfigs: Record<Account, string>;
  /** `address:port` of the Service that leads to the edge, where there is one. */
  readonly edgeAddress: string | undefined;
}

/**
 * Cluster-wide objects, the services' accounts and a kubeconfig for each, in a file only this user can read.
 * @param pages where the edge, a process of this machine, will serve its pages; absent: the cluster does not lead there.
 */
export async function installCluster(
  meshName: string,
  adminKubeconfig: string,
  folder: string,
  pages: Address | undefined,
): Promise<InstalledCluster> {
  const client = new KubernetesClient({ kubeconfig: adminKubeconfig });
  try {
    const namespace = `${meshName}-system`;
    const home: KubernetesObject = { apiVersion: 'v1', kind: 'Namespace', metadata: { name: namespace } };
    for (const manifest of [...clusterManifests(meshName), home])
      await client.apply(manifest as KubernetesObject, fieldManager);

    const edgeAddress = pages && (await leadTo(client, meshName, pages));
    const files: Partial<Record<Account, string>> = {};
    for (const [account, role] of Object.entries(accounts) as [Account, string | undefined][]) {
      await client.apply(
        { apiVersion: 'v1', kind: 'ServiceAccount', metadata: { name: account, namespace } },
        fieldManager,
      );
      if (role) await client.apply(bindingOf(meshName, account, role), fieldManager);
      const { status } = await client.post<{ status: { token: string } }>(
        { kind: 'ServiceAccount', name: account, namespace },
        'token',
        {
          apiVersion: 'authentication.k8s.io/v1',
          kind: 'TokenRequest',
          spec: { expirationSeconds: tokenSeconds },
        },
      );
      files[account] = join(folder, `${account}.kubeconfig`);
      writeFileSync(files[account], kubeconfigWith(adminKubeconfig, account, status.token), { mode: 0o600 });
    }
    return { kubeconfigs: files as Record<Account, string>, edgeAddress };
  } finally {
    await client.close();
  }
}

function bindingOf(meshName: string, account: Account, role: string): KubernetesObject {
  const binding = {
    apiVersion: 'rbac.authorization.k8s.io/v1',
    kind: 'ClusterRoleBinding',
    metadata: { name: `${meshName}-${account}` },
    roleRef: { apiGroup: 'rbac.authorization.k8s.io', kind: 'ClusterRole', name: `${meshName}-${role}` },
    subjects: [{ kind: 'ServiceAccount', name: account, namespace: `${meshName}-system` }],
  };
  return binding;
}

/** As in production, but that there the Service selects the pods of a Deployment. */
async function leadTo(client: KubernetesClient, meshName: string, pages: Address): Promise<string> {
  const [service, endpoints] = meshEdgeManifests(meshName, pages);
  const made = await client.apply<KubernetesObject & V1Service>(service as KubernetesObject & V1Service, fieldManager);
  await client.apply(endpoints as KubernetesObject, fieldManager);
  return `${made.spec!.clusterIP}:${service.spec!.ports![0]!.port}`;
}

/** Deletes what is cluster-wide and all namespaces of the mesh; does not wait until they are gone. */
export async function uninstallCluster(meshName: string, adminKubeconfig: string): Promise<void> {
  const client = new KubernetesClient({ kubeconfig: adminKubeconfig });
  try {
    const selector = `app.kubernetes.io/part-of=${meshName}`;
    for (const kind of ['Namespace', 'PriorityClass', 'ClusterRole'])
      for (const { metadata } of await client.list(kind, undefined, selector))
        await client.delete({ kind, name: metadata!.name! }, { uid: metadata!.uid! });
    const rest = [
      { kind: 'Namespace', name: `${meshName}-system` },
      ...Object.keys(accounts).map((account) => ({ kind: 'ClusterRoleBinding', name: `${meshName}-${account}` })),
    ];
    for (const ref of rest) {
      const object = await client.get(ref);
      if (object) await client.delete(ref, { uid: object.metadata!.uid! });
    }
  } finally {
    await client.close();
  }
}

/** The same server and authority, another user. */
function kubeconfigWith(adminKubeconfig: string, user: string, token: string): string {
  const config = new KubeConfig();
  config.loadFromFile(adminKubeconfig);
  const cluster = config.getCurrentCluster()!;
  const own = new KubeConfig();
  own.loadFromClusterAndUser(cluster, { name: user, token });
  return own.exportConfig();
}
