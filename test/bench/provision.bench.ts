import { type ChannelModel, connect } from 'amqplib';
import { newId } from '#contracts/index.js';
import type { KubernetesObject } from '#kubernetes/index.js';
import type { StackEnv } from '#local/env-file.js';
import { duration, say } from '#local/terminal.js';
import { cellManifests, type FootprintSpec, findPlan, footprintNames } from '#odoo/index.js';
import { BareProvisioner, targetIn } from './bare-provisioner.js';
import { type Bench, bench, type Measured, type Running, type Size } from './bench.js';
import { BenchMesh, type Standing, templateMiB } from './bench-mesh.js';
import { Stopwatch } from './stopwatch.js';
import { within } from './within.js';

/** An instance that takes longer, one after the other, never comes. */
const slowestMs = 2_000;
/** Made before the watch starts: they open the cell, and compile what is to be compiled. On both sides. */
const first = 5;
const plan = findPlan('business')!;
const failures = ['instance.refused.v1', 'instance.provisioning-failed.v1'];

export const provision = provisionBench('provision', {
  full: { n: 100, rounds: 3, warmUp: 0, minutes: 3 },
  quick: { n: 20, rounds: 1, warmUp: 0, minutes: 0.7 },
});

export const provisionThousand = provisionBench('provision-1000', {
  full: { n: 1_000, rounds: 1, warmUp: 0, minutes: 6.5 },
  quick: { n: 40, rounds: 1, warmUp: 0, minutes: 1 },
});

function provisionBench(name: string, size: { full: Size; quick: Size }): Bench {
  return bench<StackEnv>({
    name,
    says: 'from so many requests published at once to as many instances Ready, against a bare script',
    size,
    setUp: async (stack) => ({ setting: stack, tearDown: async () => {} }),
    contenders: { mesh: { start: startMesh }, 'bare script': { start: startBare } },
    comparisons: [
      {
        says: 'instances',
        quantity: 'perSecond',
        ours: 'mesh',
        reference: 'bare script',
        goal: { of: 'ratio', is: 'at least', value: 0.8 },
      },
      { says: 'CPU of our processes', quantity: 'cpuMsEach', ours: 'mesh', reference: 'bare script' },
    ],
    notes: [
      'The mesh: three services as processes, from the publishing of the first InstanceRequested to the arrival of the last InstanceReady.',
      'The bare script: bare-provisioner.ts; the same objects, role and copy with the same rights, and no customer written into it, nothing told, nothing kept.',
      `Both copy a template of ${templateMiB} MiB, in an installation of their own for each round; ${first} instances are made before it.`,
      'A round fails unless exactly as many databases, roles and ready Deployments stand as were asked for, and each was told Ready once.',
    ],
  });
}

async function startMesh(stack: StackEnv, profiles: string | undefined): Promise<Running> {
  return {
    round: (n) => onMesh(stack, profiles, n, (mesh) => measureMesh(stack, mesh, n)),
    stop: async () => {},
  };
}

async function measureMesh(stack: StackEnv, mesh: BenchMesh, n: number): Promise<Measured> {
  const customer = await Customer.connect(stack, mesh);
  try {
    await mesh.startServices();
    await customer.wants(first);
    const cpuBefore = mesh.cpuMs();
    customer.onReady = tenths('mesh', n);
    const watch = new Stopwatch();
    await customer.wants(n);
    const { perSecond } = watch.stop(n);
    return { perSecond: perSecond!, cpuMsEach: (mesh.cpuMs() - cpuBefore) / n };
  } finally {
    await customer.close();
  }
}

/** A foreign service, and somebody who listens to what comes of its requests. */
class Customer {
  /** Told of each that has become Ready. */
  onReady: () => void = () => {};
  private readonly ready = new Map<string, number>();
  private wanted = 0;
  private done: () => void = () => {};
  private fail: (error: Error) => void = () => {};

  private constructor(
    private readonly asking: ChannelModel,
    private readonly listening: ChannelModel,
  ) {}

  static async connect(stack: StackEnv, mesh: BenchMesh): Promise<Customer> {
    const url = new URL(stack.MESH_RABBITMQ_URL);
    url.pathname = `/${mesh.name}`;
    const [asking, listening] = await Promise.all([connect(mesh.installed.amqpUrl('signup')), connect(url.toString())]);
    const customer = new Customer(asking, listening);
    await customer.listen();
    return customer;
  }

  /** All requests at once; resolves when each of them was told Ready. Rejects when one was told anything worse. */
  async wants(n: number): Promise<void> {
    this.wanted += n;
    const all = new Promise<void>((resolve, reject) => {
      this.done = resolve;
      this.fail = reject;
    });
    const channel = await this.asking.createConfirmChannel();
    for (let index = 0; index < n; index++) {
      const body = Buffer.from(JSON.stringify(requestFor(`bench-${this.wanted}-${index}`)));
      channel.publish('mesh.events', 'instance.requested.v1', body, {
        persistent: true,
        contentType: 'application/cloudevents+json',
      });
    }
    await channel.waitForConfirms();
    await all;
    await channel.close();
    const twice = [...this.ready].filter(([, times]) => times > 1);
    if (twice.length > 0) throw new Error(`${twice.length} instances were told Ready more than once`);
  }

  async close(): Promise<void> {
    await Promise.all([this.asking.close(), this.listening.close()]);
  }

  private async listen(): Promise<void> {
    const channel = await this.listening.createChannel();
    const { queue } = await channel.assertQueue('', { exclusive: true });
    for (const key of ['instance.ready.v1', ...failures]) await channel.bindQueue(queue, 'mesh.events', key);
    await channel.consume(
      queue,
      (message) => {
        const { data } = JSON.parse(message!.content.toString());
        if (failures.includes(message!.fields.routingKey))
          return this.fail(new Error(`${message!.fields.routingKey}: ${data.code} ${data.message}`));
        if (!this.ready.has(data.instanceId)) this.onReady();
        this.ready.set(data.instanceId, (this.ready.get(data.instanceId) ?? 0) + 1);
        if (this.ready.size === this.wanted) this.done();
      },
      { noAck: true },
    );
  }
}

function requestFor(slug: string) {
  return {
    specversion: '1.0',
    id: newId(),
    source: 'signup',
    type: 'mesh.instance.requested.v1',
    time: new Date().toISOString(),
    datacontenttype: 'application/json',
    data: {
      instanceId: newId(),
      slug,
      customerId: 'c-1042',
      plan: plan.name,
      odooVersion: '18.0',
      bundle: 'apps',
      company: 'ACME Ltd',
      adminLogin: 'owner@acme.example',
    },
  };
}

async function startBare(stack: StackEnv): Promise<Running> {
  return {
    round: (n) => onMesh(stack, undefined, n, (mesh) => measureBare(stack, mesh, n)),
    stop: async () => {},
  };
}

async function measureBare(stack: StackEnv, mesh: BenchMesh, n: number): Promise<Measured> {
  const namespace = `${mesh.name}-c0`;
  const cell = { meshName: mesh.name, cell: 'c0', namespace, places: 1_000, footprintWriters: [] };
  const networks = { ingressNamespace: 'kube-system', clusterNetworks: [], databases: [] };
  for (const manifest of cellManifests({ ...cell, ...networks }))
    await mesh.cluster.apply(manifest as KubernetesObject, 'bench');
  const script = new BareProvisioner({
    ...targetIn(stack.MESH_KUBECONFIG),
    namespace,
    shardUrl: mesh.shardUrl,
    tenantGroup: `${mesh.name}_tenant`,
    readerGroup: `${mesh.name}_reader`,
    template: mesh.template,
  });
  const specs = (count: number) => Array.from({ length: count }, () => specFor(stack, mesh, namespace));
  try {
    await script.startWatch();
    await script.provision(specs(first));
    const wanted = specs(n);
    script.onReady = tenths('bare script', n);
    const watch = new Stopwatch();
    await script.provision(wanted);
    const { perSecond, cpuMicrosEach } = watch.stop(n);
    return { perSecond: perSecond!, cpuMsEach: cpuMicrosEach! / 1_000 };
  } finally {
    await script.close();
  }
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
    plan,
    entry: { scheme: 'http' },
    image: 'registry.local/odoo:18.0',
    templateDatabase: mesh.template,
    storageClass: stack.MESH_STORAGE_CLASS,
    replicas: 1,
  };
}

/** Measures on an installation of its own and proves that what was asked for stands, all of it and once. */
async function onMesh(
  stack: StackEnv,
  profiles: string | undefined,
  n: number,
  measure: (mesh: BenchMesh) => Promise<Measured>,
): Promise<Measured> {
  const mesh = await BenchMesh.install(stack, profiles);
  try {
    const measured = await within(60_000 + n * slowestMs, measure(mesh));
    const standing = await mesh.standing();
    const wanted = first + n;
    const wrong = (Object.keys(standing) as (keyof Standing)[]).filter((what) => standing[what] !== wanted);
    if (wrong.length > 0) throw new Error(`${wanted} were asked for; there are ${JSON.stringify(standing)}`);
    return measured;
  } finally {
    await mesh.remove();
  }
}

/** Minutes without a word look like a hang. */
function tenths(who: string, n: number): () => void {
  const begun = performance.now();
  let ready = 0;
  return () => {
    ready += 1;
    if (n < 200 || (ready % (n / 10) !== 0 && ready !== n)) return;
    say(`        ${who}: ${ready} Ready after ${duration(performance.now() - begun)}`);
  };
}
