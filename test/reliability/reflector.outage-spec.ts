import { type ChildProcess, fork } from 'node:child_process';
import { once } from 'node:events';
import { resolve } from 'node:path';
import { afterAll, beforeAll, expect, it } from '@jest/globals';
import { type KubernetesObject, keyOf } from '#kubernetes/index.js';
import { TestCluster } from '#kubernetes/test-cluster.fixture.js';
import { stackAddresses } from '#testing/config.js';
import { HttpFaultProxy } from '#testing/http-fault-proxy.js';
import { waitFor } from '#testing/wait-for.js';
import { stackEnvironment } from '../e2e/config.js';
import type { Counts, Figures, Report, Told } from './reflector-holder.js';

const kinds = ['Deployment', 'Pod'] as const;
const objectsOfKind = 10_000;
/** So many of each kind change, and so many more go, while something is broken. */
const changing = 150;
const going = 30;

let cluster: TestCluster;
let namespace: string;
let proxy: HttpFaultProxy;
let holder: Holder;
let round = 0;

/** The process that holds the objects, and the way to ask it. */
class Holder {
  constructor(readonly process: ChildProcess) {}

  async ask<T>(question: 'figures' | 'counts' | 'record' | 'told' | 'report'): Promise<T> {
    this.process.send(question);
    const [answer] = await once(this.process, 'message');
    return answer as T;
  }
}

beforeAll(async () => {
  cluster = new TestCluster(stackAddresses().kubeconfig);
  namespace = await cluster.namespace();
  const created = performance.now();
  await fill();
  console.log(`${2 * objectsOfKind} objects made in ${seconds(created)}`);
  proxy = await HttpFaultProxy.before(cluster.serverAddress);
  const kubeconfig = cluster.kubeconfigFor({ server: proxy.url, ca: proxy.certificate });
  const program = resolve(import.meta.dirname, '../../dist/test/reliability/reflector-holder.js');
  holder = new Holder(fork(program, [kubeconfig, namespace], { execArgv: ['--expose-gc'] }));
});

afterAll(async () => {
  if (holder?.process.exitCode === null) {
    const exit = once(holder.process, 'exit');
    holder.process.disconnect();
    await exit;
  }
  await proxy?.close();
  // The tests' own cluster is thrown away as a whole, which takes no time.
  if (stackEnvironment().MESH_NODES === 'kwok') return await cluster?.leave();
  await cluster?.remove();
});

const seconds = (since: number) => `${((performance.now() - since) / 1_000).toFixed(1)} s`;
const nameOf = (kind: string, n: number) => `${kind.toLowerCase()}-${n}`;
const keyIn = (kind: string, n: number) => `${kind} ${namespace}/${nameOf(kind, n)}`;

/** Deployments that make no pods and pods that no scheduler takes, so that nobody works on them but we. */
function manifest(kind: (typeof kinds)[number], n: number): KubernetesObject {
  const labels = { counter: '0' };
  const metadata = { namespace, name: nameOf(kind, n), labels };
  const containers = [{ name: 'odoo', image: 'none', env: [{ name: 'DB_HOST', value: 'db' }] }];
  const pod = { schedulerName: 'nobody', automountServiceAccountToken: false, enableServiceLinks: false, containers };
  if (kind === 'Pod') return { apiVersion: 'v1', kind, metadata, spec: pod } as KubernetesObject;
  const template = { metadata: { labels: { app: metadata.name } }, spec: pod };
  const spec = { replicas: 0, paused: true, selector: { matchLabels: { app: metadata.name } }, template };
  return { apiVersion: 'apps/v1', kind, metadata, spec } as KubernetesObject;
}

async function fill(): Promise<void> {
  const account = { apiVersion: 'v1', kind: 'ServiceAccount', metadata: { namespace, name: 'default' } };
  await cluster.admin.apply(account, 'test');
  const client = cluster.client({ connections: 64, rate: { perSecond: 10_000, burst: 10_000 }, patienceMs: 60_000 });
  for (const kind of kinds)
    await each(objectsOfKind, async (n) => void (await client.create(manifest(kind, n), 'test')));
}

/** Many at once, none twice. */
async function each(count: number, work: (n: number) => Promise<void>): Promise<void> {
  let next = 0;
  const lane = async () => {
    while (next < count) await work(next++);
  };
  await Promise.all(Array.from({ length: 64 }, lane));
}

/** Changes some objects twice and removes others. @returns what has to be told of each in the end. */
async function transitions(): Promise<Map<string, string | undefined>> {
  const first = round++ * (changing + going);
  const expected = new Map<string, string | undefined>();
  for (const part of ['a', 'b'])
    await each(changing, async (n) => {
      for (const kind of kinds) {
        const counter = `${round}${part}`;
        const ref = { kind, namespace, name: nameOf(kind, first + n) };
        await cluster.admin.merge(ref, { metadata: { labels: { counter } } }, 'test');
        expected.set(keyIn(kind, first + n), counter);
      }
    });
  await each(going, async (n) => {
    for (const kind of kinds) {
      const ref = { kind, namespace, name: nameOf(kind, first + changing + n) };
      const { uid } = (await cluster.admin.get(ref))!.metadata!;
      await cluster.admin.delete(ref, { uid: uid! });
      expected.set(keyIn(kind, first + changing + n), undefined);
    }
  });
  return expected;
}

async function allTold(expected: ReadonlyMap<string, string | undefined>): Promise<Told[]> {
  return await waitFor(
    'the last transition of every object',
    async () => {
      const told = new Map((await holder.ask<Told[]>('told')).map((one) => [one[0], one]));
      const right = ([key, counter]: [string, string | undefined]) =>
        told.has(key) && told.get(key)![1] === (counter ?? null);
      return [...expected].every(right) ? [...expected.keys()].map((key) => told.get(key)!) : undefined;
    },
    { intervalMs: 100, timeoutMs: 60_000 },
  );
}

/** What the server has and what the holder has, told apart. (Not by versions: the cluster's controllers are at work too.) */
async function differences(report: Report): Promise<string[]> {
  const held = new Map(report.held.map(([key, { uid, counter }]) => [key, `${uid} ${counter}`]));
  const there = new Map<string, string>();
  for (const kind of kinds)
    for (const { metadata } of await cluster.admin.list(kind, namespace))
      there.set(`${kind} ${keyOf(metadata!)}`, `${metadata!.uid} ${metadata!.labels!.counter}`);
  return [...new Set([...held.keys(), ...there.keys()])].filter((key) => held.get(key) !== there.get(key));
}

function line(what: string, figures: Figures, recoveredMs?: number): void {
  const { objects, retainedMiB, rssMiB, blockedMs, cpuSeconds, counts } = figures;
  const sum = (name: 'lists' | 'watches' | 'failures') => counts.reduce((total, count) => total + count[name], 0);
  console.log(
    `${what}: ${recoveredMs === undefined ? '' : `recovered ${recoveredMs} ms, `}${objects} objects, ` +
      `${retainedMiB.toFixed(1)} MiB retained (rss ${rssMiB.toFixed(0)}), ` +
      `event loop blocked for ${blockedMs.max.toFixed(1)} ms at most (p99 ${blockedMs.p99.toFixed(1)}), ` +
      `${cpuSeconds.toFixed(1)} s CPU, ${sum('lists')} lists, ${sum('watches')} watches, ${sum('failures')} failures`,
  );
}

/** After `broken`, of which it says when the server answered again, everything is known and told. */
async function nothingIsMissed(
  what: string,
  broken: () => Promise<{ expected: Map<string, string | undefined>; answersSince: number }>,
): Promise<void> {
  await holder.ask('record');
  const { expected, answersSince } = await broken();
  const told = await allTold(expected);
  const report = await holder.ask<Report>('report');
  line(what, report.figures, Math.max(0, ...told.map(([, , at]) => at - answersSince)));
  expect(await differences(report)).toEqual([]);
}

it('holds 10,000 Deployments and as many pods in little memory, and reads them without stopping its process', async () => {
  const begun = performance.now();
  await once(holder.process, 'message');
  const synced = seconds(begun);
  const figures = await holder.ask<Figures>('figures');
  line(`synced in ${synced}`, figures);
  expect(figures.objects).toBe(2 * objectsOfKind);
  expect(figures.retainedMiB).toBeLessThanOrEqual(60);
  expect(figures.blockedMs.max).toBeLessThanOrEqual(50);
});

const gone = { status: 410, body: JSON.stringify({ kind: 'Status', reason: 'Expired', message: 'too old' }) };

it('misses nothing when its place in the history is gone (410) when it comes back', async () => {
  await nothingIsMissed('410 after an absence', async () => {
    proxy.tcp.refuse(true);
    proxy.cut();
    const expected = await transitions();
    proxy.fail(kinds.length, ({ query }) => query.has('watch'), gone);
    proxy.tcp.refuse(false);
    return { expected, answersSince: Date.now() };
  });
  expect(proxy.faultsLeft).toBe(0);
});

it('misses nothing when its place is gone (410) while it watches, and again while it lists', async () => {
  await nothingIsMissed('410 in the middle', async () => {
    // The list that the last fault has cost may still go on.
    const watching = () => {
      if (proxy.openWatches === kinds.length) return true;
      throw new Error(`${proxy.openWatches} watches are open`);
    };
    await waitFor('a watch of each kind', watching, { timeoutMs: 60_000 });
    const changes = transitions();
    proxy.fail(1, ({ query }) => query.has('continue'), gone);
    proxy.expireWatches();
    const answersSince = Date.now();
    return { expected: await changes, answersSince };
  });
  expect(proxy.faultsLeft).toBe(0);
});

it('misses nothing while its connections are half-open', async () => {
  await nothingIsMissed('half-open', async () => {
    const before = await holder.ask<Counts>('counts');
    proxy.tcp.stall(true);
    const expected = await transitions();
    await waitFor('the dead connection to be found', async () => {
      const counts = await holder.ask<Counts>('counts');
      return counts.every(({ failures }, n) => failures > before[n]!.failures);
    });
    proxy.tcp.stall(false);
    return { expected, answersSince: Date.now() };
  });
});

it('misses nothing while the server is away for two seconds', async () => {
  await nothingIsMissed('restart', async () => {
    proxy.tcp.refuse(true);
    proxy.cut();
    const until = Date.now() + 2_000;
    const expected = await transitions();
    await waitFor('two seconds', () => Date.now() >= until);
    proxy.tcp.refuse(false);
    return { expected, answersSince: Date.now() };
  });
});
