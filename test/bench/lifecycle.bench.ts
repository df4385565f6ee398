import { type ChannelModel, connect } from 'amqplib';
import { newId } from '#contracts/index.js';
import type { KubernetesObject } from '#kubernetes/index.js';
import type { StackEnv } from '#local/env-file.js';
import { cellManifests, type FootprintSpec, findPlan, footprintNames } from '#odoo/index.js';
import { BareLifecycle } from './bare-lifecycle.js';
import { BareProvisioner, targetIn } from './bare-provisioner.js';
import { type Bench, bench, type Measured, type Running, type Size } from './bench.js';
import { BenchMesh } from './bench-mesh.js';
import { MachineCpu } from './machine-cpu.js';
import { Stopwatch } from './stopwatch.js';
import { within } from './within.js';

/** One that takes longer, one after the other, never comes. */
const slowestMs = 3_000;
/** Done before the watch starts: they compile what is to be compiled. On both sides. */
const first = 5;
const [small, large] = ['starter', 'business'];

export const lifecycle = lifecycleBench('lifecycle', {
  full: { n: 100, rounds: 3, warmUp: 0, minutes: 5 },
  quick: { n: 20, rounds: 1, warmUp: 0, minutes: 1 },
});

export const lifecycleThousand = lifecycleBench('lifecycle-1000', {
  full: { n: 1_000, rounds: 1, warmUp: 0, minutes: 18 },
  quick: { n: 40, rounds: 1, warmUp: 0, minutes: 1.5 },
});

function lifecycleBench(name: string, size: { full: Size; quick: Size }): Bench {
  return bench<StackEnv>({
    name,
    says: 'so many instances stopped at once, started at once, and resized at once, against a bare script',
    size,
    setUp: async (stack) => ({ setting: stack, tearDown: async () => {} }),
    contenders: { mesh: { start: startMesh }, 'bare script': { start: startBare } },
    comparisons: [
      {
        says: 'stopped and started',
        quantity: 'cyclesPerSecond',
        ours: 'mesh',
        reference: 'bare script',
        goal: { of: 'ratio', is: 'at least', value: 0.8 },
      },
      {
        says: 'resized',
        quantity: 'resizesPerSecond',
        ours: 'mesh',
        reference: 'bare script',
        goal: { of: 'ratio', is: 'at least', value: 0.8 },
      },
      { says: 'CPU of our processes for all three', quantity: 'cpuMsEach', ours: 'mesh', reference: 'bare script' },
    ],
    notes: [
      'The mesh: its services as processes; from the publishing of the first request to the arrival of the last answer, for stops, then starts, then resizes.',
      'The bare script: bare-lifecycle.ts; the same calls for the same objects and the same statement to the shard, as many at a time as lifecycle has jobs; nothing is asked of a planner, told, kept, or looked at but by two watches.',
      `The instances are made before, in an installation of their own for each round; ${first} of them go through all of it before it is measured.`,
      'A round fails unless each request has exactly one answer, of its good end, and as many ready Deployments stand as there were.',
    ],
  });
}

async function startMesh(stack: StackEnv, profiles: string | undefined): Promise<Running> {
  return {
    round: (n) => onMesh(stack, profiles, n, (mesh) => measureMesh(stack, mesh, n)),
    stop: async () => {},
  };
}

async function startBare(stack: StackEnv): Promise<Running> {
  return {
    round: (n) => onMesh(stack, undefined, n, (mesh) => measureBare(stack, mesh, n)),
    stop: async () => {},
  };
}

async function measureMesh(stack: StackEnv, mesh: BenchMesh, n: number): Promise<Measured> {
  const asker = await Asker.connect(stack, mesh);
  try {
    await mesh.startServices();
    const instances = Array.from({ length: first + n }, () => newId());
    await asker.all('instance.requested.v1', 'instance.state-changed.v1', instances.map(requestFor));
    const ask = async (what: string, fact: string, ids: readonly string[], more: object = {}) =>
      await asker.all(
        `instance.${what}-requested.v1`,
        `instance.${fact}.v1`,
        ids.map((instanceId) => ({ instanceId, reason: 'a bench', ...more })),
      );
    const cycle = async (ids: readonly string[]) => {
      await ask('stop', 'stopped', ids);
      await ask('start', 'started', ids);
    };
    const resize = (ids: readonly string[]) => ask('resize', 'resized', ids, { plan: large });
    await cycle(instances.slice(0, first));
    await resize(instances.slice(0, first));
    const measured = instances.slice(first);
    const cpuBefore = mesh.cpuMs();
    const machine = MachineCpu.ifAsked();
    const cyclesPerSecond = await rateOf(n, () => cycle(measured));
    const resizesPerSecond = await rateOf(n, () => resize(measured));
    machine?.tell('mesh', n);
    return { cyclesPerSecond, resizesPerSecond, cpuMsEach: (mesh.cpuMs() - cpuBefore) / n };
  } finally {
    await asker.close();
  }
}

async function measureBare(stack: StackEnv, mesh: BenchMesh, n: number): Promise<Measured> {
  const namespace = `${mesh.name}-c0`;
  const cell = { meshName: mesh.name, cell: 'c0', namespace, places: 1_010, footprintWriters: [] };
  const networks = { ingressNamespace: 'kube-system', clusterNetworks: [], databases: [] };
  for (const manifest of cellManifests({ ...cell, ...networks }))
    await mesh.cluster.apply(manifest as KubernetesObject, 'bench');
  const target = {
    ...targetIn(stack.MESH_KUBECONFIG),
    namespace,
    shardUrl: mesh.shardUrl,
    tenantGroup: `${mesh.name}_tenant`,
    readerGroup: `${mesh.name}_reader`,
    template: mesh.template,
  };
  const specs = Array.from({ length: first + n }, () => specFor(stack, mesh, namespace));
  const maker = new BareProvisioner(target);
  const script = new BareLifecycle(target);
  try {
    await maker.startWatch();
    await script.startWatches();
    await maker.provision(specs);
    const cycle = async (some: readonly FootprintSpec[]) => {
      await script.stop(some);
      await script.start(some);
    };
    await cycle(specs.slice(0, first));
    await script.resize(specs.slice(0, first), large!);
    const measured = specs.slice(first);
    const machine = MachineCpu.ifAsked();
    const watch = new Stopwatch();
    const cyclesPerSecond = await rateOf(n, () => cycle(measured));
    const resizesPerSecond = await rateOf(n, () => script.resize(measured, large!));
    machine?.tell('bare script', n);
    return { cyclesPerSecond, resizesPerSecond, cpuMsEach: watch.stop(n).cpuMicrosEach! / 1_000 };
  } finally {
    await Promise.all([maker.close(), script.close()]);
  }
}

async function rateOf(n: number, work: () => Promise<unknown>): Promise<number> {
  const watch = new Stopwatch();
  await work();
  return watch.stop(n).perSecond!;
}

/** Somebody who wants something of many instances at once, and hears what becomes of it. */
class Asker {
  private heard: (key: string, data: Said) => void = () => {};

  private constructor(
    private readonly asking: ChannelModel,
    private readonly listening: ChannelModel,
  ) {}

  static async connect(stack: StackEnv, mesh: BenchMesh): Promise<Asker> {
    const url = new URL(stack.MESH_RABBITMQ_URL);
    url.pathname = `/${mesh.name}`;
    const [asking, listening] = await Promise.all([connect(mesh.installed.amqpUrl('signup')), connect(url.toString())]);
    const asker = new Asker(asking, listening);
    await asker.listen();
    return asker;
  }

  /**
   * Asks for all of it at once; resolves when for each of these instances that fact was heard, of a state that it runs.
   * Rejects when one was heard twice, or anything worse.
   */
  async all(key: string, fact: string, wanted: readonly { readonly instanceId: string }[]): Promise<void> {
    const open = new Map(wanted.map((data) => [data.instanceId, newId()]));
    const done = new Promise<void>((resolve, reject) => {
      this.heard = (said, data) => {
        if (failures.test(said)) return reject(new Error(`${said}: ${data.code} ${data.message}`));
        if (said !== fact || (data.state !== undefined && data.state !== 'running')) return;
        if (data.operationId !== undefined && data.operationId !== open.get(data.instanceId))
          return reject(new Error(`${said}: nobody waits for the answer ${data.operationId}`));
        open.delete(data.instanceId);
        if (open.size === 0) resolve();
      };
    });
    const channel = await this.asking.createConfirmChannel();
    const time = new Date().toISOString();
    for (const data of wanted) {
      const id = open.get(data.instanceId)!;
      const message = { specversion: '1.0', id, source: 'signup', type: `mesh.${key}`, time, data };
      channel.publish('mesh.events', key, Buffer.from(JSON.stringify(message)), {
        persistent: true,
        contentType: 'application/cloudevents+json',
      });
    }
    await Promise.all([channel.waitForConfirms(), done]);
    await channel.close();
  }

  async close(): Promise<void> {
    await Promise.all([this.asking.close(), this.listening.close()]);
  }

  private async listen(): Promise<void> {
    const channel = await this.listening.createChannel();
    const { queue } = await channel.assertQueue('', { exclusive: true });
    await channel.bindQueue(queue, 'mesh.events', 'instance.#');
    await channel.consume(
      queue,
      (message) => this.heard(message!.fields.routingKey, JSON.parse(message!.content.toString()).data),
      { noAck: true },
    );
  }
}

const failures = /^instance\.(refused|provisioning-failed|operation-refused|operation-failed)\.v1$/;

// biome-ignore lint/suspicious/noExplicitAny: that is what being a stranger means
type Said = any;

function requestFor(instanceId: string, index: number) {
  return {
    instanceId,
    slug: `bench-${index}`,
    customerId: 'c-1042',
    plan: small,
    odooVersion: '18.0',
    bundle: 'apps',
    company: 'ACME Ltd',
    adminLogin: 'owner@acme.example',
  };
}

function specFor(stack: StackEnv, mesh: BenchMesh, namespace: string): FootprintSpec {
  const footprintId = newId();
  const names = footprintNames(mesh.name, footprintId);
  return {
    meshName: mesh.name,
    names,
    namespace,
    cell: 'c0',
    footprintId,
    tenant: { instanceId: newId(), customerId: 'c-1042', host: `${names.object}.localhost` },
    epoch: 1,
    plan: findPlan(small!)!,
    entry: { scheme: 'http' },
    image: 'registry.local/odoo:18.0',
    templateDatabase: mesh.template,
    storageClass: stack.MESH_STORAGE_CLASS,
    replicas: 1,
  };
}

/** Measures on an installation of its own and proves that all of them run at its end. */
async function onMesh(
  stack: StackEnv,
  profiles: string | undefined,
  n: number,
  measure: (mesh: BenchMesh) => Promise<Measured>,
): Promise<Measured> {
  const mesh = await BenchMesh.install(stack, profiles, {}, 'as small as it is');
  try {
    const measured = await within(120_000 + n * slowestMs, measure(mesh));
    const { deployments } = await mesh.standing();
    if (deployments !== first + n) throw new Error(`${first + n} were to run at the end; ${deployments} do`);
    return measured;
  } finally {
    await mesh.remove();
  }
}
