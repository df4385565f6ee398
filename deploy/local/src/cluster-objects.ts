import { join } from 'node:path';
import { type ClusterApi, readManifests } from './cluster-api.js';
import { waitUntil } from './wait.js';

interface Definition {
  spec: { group: string; names: { plural: string }; versions: { name: string; served: boolean }[] };
}

interface Conditioned {
  metadata: { name: string; annotations?: Record<string, string> };
  spec?: { taints?: { key: string }[] };
  status?: { conditions?: { type: string; status: string }[] };
}

const hasCondition = (object: Conditioned, type: string) =>
  object.status?.conditions?.some((condition) => condition.type === type && condition.status === 'True') ?? false;

/** Installs the CustomResourceDefinitions of the files and waits until the server serves them. */
export async function applyDefinitions(api: ClusterApi, files: readonly string[]): Promise<void> {
  const path = '/apis/apiextensions.k8s.io/v1/customresourcedefinitions';
  const names: string[] = [];
  for (const definition of files.flatMap(readManifests)) {
    await api.apply(`${path}/${definition.name}`, definition);
    names.push(definition.name);
  }
  await waitUntil(
    'the custom resources are not served',
    async () => {
      const definitions = await Promise.all(names.map((name) => api.get<Definition & Conditioned>(`${path}/${name}`)));
      if (!definitions.every((definition) => hasCondition(definition, 'Established'))) return false;
      // Established is said a moment before the server's storage for it stands.
      await Promise.all(definitions.flatMap(collections).map((collection) => api.get(`${collection}?limit=1`)));
      // And described: kwok ends where it finds no description of what it is to watch.
      const { paths } = await api.get<{ paths: Record<string, unknown> }>('/openapi/v3');
      return definitions.flatMap(groupVersions).every((one) => `apis/${one}` in paths);
    },
    { withinMs: 60_000 },
  );
}

function collections(definition: Definition): string[] {
  return groupVersions(definition).map((one) => `/apis/${one}/${definition.spec.names.plural}`);
}

function groupVersions({ spec: { group, versions } }: Definition): string[] {
  return versions.filter(({ served }) => served).map(({ name }) => `${group}/${name}`);
}

/** The class `mesh-local`: binds at once, retains, expands. */
export async function applyStorageClass(api: ClusterApi, kwokFolder: string): Promise<void> {
  for (const storageClass of readManifests(join(kwokFolder, 'storage-class.yaml')))
    await api.apply(`/apis/storage.k8s.io/v1/storageclasses/${storageClass.name}`, storageClass);
}

/**
 * Simulated nodes `sim-001` to `sim-<count>`: resolves when all of them are Ready and take pods; tainted, only those that
 * tolerate `mesh.odoo/simulated`. `stillHopeful` throws when that cannot come true any more.
 */
export async function applySimulatedNodes(
  api: ClusterApi,
  { count, tainted }: { readonly count: number; readonly tainted: boolean },
  stillHopeful?: () => void,
): Promise<void> {
  const present = new Set((await nodes(api)).map((node) => node.metadata.name));
  for (const node of simulatedNodes(count, tainted))
    if (!present.has(node.metadata.name)) await api.create('/api/v1/nodes', node);
  await waitUntil('the simulated nodes are not Ready', () => simulatedNodesReady(api, count), {
    withinMs: 60_000,
    stillHopeful,
  });
}

/**
 * Before kwok starts: it has a new name each time, and leaves a node alone as long as another name's lease on it lasts;
 * pods of that node would not move for up to 40 s.
 */
export async function forgetLeases(api: ClusterApi, count: number): Promise<void> {
  for (const { metadata } of simulatedNodes(count))
    await api.delete(`/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases/${metadata.name}`);
}

async function simulatedNodesReady(api: ClusterApi, count: number): Promise<boolean> {
  const ready = (await nodes(api)).filter(
    (node) =>
      node.metadata.annotations?.['kwok.x-k8s.io/node'] === 'fake' &&
      hasCondition(node, 'Ready') &&
      !node.spec?.taints?.some((taint) => taint.key.startsWith('node.kubernetes.io/')),
  );
  return ready.length >= count;
}

async function nodes(api: ClusterApi): Promise<Conditioned[]> {
  return (await api.get<{ items: Conditioned[] }>('/api/v1/nodes')).items;
}

/** Large nodes: what an instance asks for is to be found out by the planner, not by a full cluster on a laptop. */
export function simulatedNodes(count: number, tainted = false) {
  const resources = { cpu: '32', memory: '256Gi', pods: '250', 'ephemeral-storage': '1Ti' };
  return Array.from({ length: count }, (_, index) => {
    const name = `sim-${String(index + 1).padStart(3, '0')}`;
    return {
      apiVersion: 'v1',
      kind: 'Node',
      metadata: {
        name,
        annotations: { 'kwok.x-k8s.io/node': 'fake' },
        labels: {
          'kubernetes.io/hostname': name,
          'kubernetes.io/os': 'linux',
          'kubernetes.io/arch': 'amd64',
          'mesh.odoo/node': 'simulated',
        },
      },
      ...(tainted && { spec: { taints: [{ key: 'mesh.odoo/simulated', value: 'true', effect: 'NoSchedule' }] } }),
      status: { allocatable: resources, capacity: resources },
    };
  });
}
