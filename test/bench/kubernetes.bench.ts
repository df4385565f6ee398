import { subscribe } from 'node:diagnostics_channel';
import { CoreV1Api, KubeConfig, PatchStrategy, setHeaderOptions, type V1ConfigMap } from '@kubernetes/client-node';
import { KubernetesClient, type KubernetesObject } from '#kubernetes/index.js';
import type { StackEnv } from '#local/env-file.js';
import { bench, type Measured, type Running } from './bench.js';
import { inParallel } from './parallel.js';
import { Stopwatch } from './stopwatch.js';

const concurrency = 32;
const fieldManager = 'bench';

interface Setting {
  readonly kubeconfig: string;
  readonly namespace: string;
}

/** What both clients are asked to do. The object's uid is known from its creation. */
interface Calls {
  create(object: ConfigMap): Promise<string>;
  get(name: string): Promise<void>;
  apply(object: ConfigMap): Promise<void>;
  delete(name: string, uid: string): Promise<void>;
  close(): Promise<void>;
}

type ConfigMap = V1ConfigMap & { metadata: { name: string; namespace: string } };

export const kubernetes = bench<Setting>({
  name: 'kubernetes',
  says: `create, get, apply and delete of ConfigMaps, ${concurrency} at a time`,
  size: {
    full: { n: 500, rounds: 5, warmUp: 100, minutes: 0.8 },
    quick: { n: 100, rounds: 3, warmUp: 30, minutes: 0.4 },
  },
  async setUp(stack) {
    const namespace = `bench-${process.pid}`;
    const object = { apiVersion: 'v1', kind: 'Namespace', metadata: { name: namespace } };
    await withClient(stack, (client) => client.create(object, fieldManager));
    return {
      setting: { kubeconfig: stack.MESH_KUBECONFIG, namespace },
      tearDown: () =>
        withClient(stack, async (client) => {
          const ref = { kind: 'Namespace', name: namespace };
          const { metadata } = (await client.get(ref))!;
          await client.delete(ref, { uid: metadata!.uid! });
        }),
    };
  },
  contenders: {
    'libs/kubernetes': { start: (setting) => start(setting, ours(setting)) },
    'client-node': { start: (setting) => start(setting, stock(setting)) },
  },
  comparisons: [
    {
      says: 'CPU of this process a call',
      quantity: 'cpuMsEachCall',
      ours: 'libs/kubernetes',
      reference: 'client-node',
      goal: { of: 'ours', is: 'at most', value: 0.6 },
    },
    {
      says: 'connections opened, warm-up included',
      quantity: 'connections',
      ours: 'libs/kubernetes',
      reference: 'client-node',
      goal: { of: 'ours', is: 'at most', value: 16 },
    },
    { says: 'all four calls', quantity: 'callsPerSecond', ours: 'libs/kubernetes', reference: 'client-node' },
  ],
  notes: [
    'N is the number of objects; each is created, read, applied and deleted: four calls.',
    'Our token bucket is set so wide that nobody waits: its pace is a choice and not a cost.',
    'connections counts every connection that was opened since the process began, up to the end of the round.',
  ],
});

async function start({ namespace }: Setting, calls: Calls): Promise<Running> {
  let connections = 0;
  // Both clients stand on undici, which tells of each connection it has made.
  subscribe('undici:client:connected', () => {
    connections += 1;
  });
  let round = 0;
  return {
    async round(n): Promise<Measured> {
      round += 1;
      const watch = new Stopwatch();
      const objects = Array.from({ length: n }, (_, index) => configMap(namespace, `r${round}-${index}`));
      const uids = new Map<string, string>();
      await inParallel(n, concurrency, async (index) => {
        const object = objects[index]!;
        uids.set(object.metadata.name, await calls.create(object));
      });
      await inParallel(n, concurrency, (index) => calls.get(objects[index]!.metadata.name));
      await inParallel(n, concurrency, (index) => calls.apply({ ...objects[index]!, data: { state: 'applied' } }));
      await inParallel(n, concurrency, (index) => {
        const { name } = objects[index]!.metadata;
        return calls.delete(name, uids.get(name)!);
      });
      const { perSecond, cpuMicrosEach } = watch.stop(4 * n);
      return { cpuMsEachCall: cpuMicrosEach! / 1_000, callsPerSecond: perSecond!, connections };
    },
    stop: () => calls.close(),
  };
}

function ours({ kubeconfig, namespace }: Setting): Calls {
  const client = new KubernetesClient({ kubeconfig, rate: { perSecond: 100_000, burst: 100_000 } });
  const ref = (name: string) => ({ kind: 'ConfigMap', name, namespace });
  return {
    create: async (object) => (await client.create(object as KubernetesObject, fieldManager)).metadata!.uid!,
    get: async (name) => void (await client.get(ref(name))),
    apply: async (object) => void (await client.apply(object as KubernetesObject, fieldManager)),
    delete: (name, uid) => client.delete(ref(name), { uid }),
    close: () => client.close(),
  };
}

/** As its README shows it: `makeApiClient`, nothing replaced. */
function stock({ kubeconfig, namespace }: Setting): Calls {
  const config = new KubeConfig();
  config.loadFromFile(kubeconfig);
  const api = config.makeApiClient(CoreV1Api);
  const asApply = setHeaderOptions('Content-Type', PatchStrategy.ServerSideApply);
  return {
    create: async (body) => (await api.createNamespacedConfigMap({ namespace, body, fieldManager })).metadata!.uid!,
    get: async (name) => void (await api.readNamespacedConfigMap({ namespace, name })),
    apply: async (body) => {
      const { name } = body.metadata;
      await api.patchNamespacedConfigMap({ namespace, name, body, fieldManager, force: true }, asApply);
    },
    delete: async (name, uid) => {
      await api.deleteNamespacedConfigMap({ namespace, name, body: { preconditions: { uid } } });
    },
    close: async () => {},
  };
}

function configMap(namespace: string, name: string): ConfigMap {
  return { apiVersion: 'v1', kind: 'ConfigMap', metadata: { name, namespace }, data: { state: 'made' } };
}

async function withClient<T>(stack: StackEnv, work: (client: KubernetesClient) => Promise<T>): Promise<T> {
  const client = new KubernetesClient({ kubeconfig: stack.MESH_KUBECONFIG });
  try {
    return await work(client);
  } finally {
    await client.close();
  }
}
