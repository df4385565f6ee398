import type { AddressInfo } from 'node:net';
import { connect, createServer, type Server, type Socket } from 'node:net';
import { afterAll, afterEach, beforeAll, expect, it } from '@jest/globals';
import { stackAddresses } from '#testing/config.js';
import { waitFor } from '#testing/wait-for.js';
import { Reflector, type ReflectorOptions } from './reflector.js';
import type { KubernetesObject } from './resources.js';
import { TestCluster } from './test-cluster.fixture.js';

type ConfigMap = KubernetesObject & { data?: Record<string, string> };

let cluster: TestCluster;
let namespace: string;
let way: Way;
const reflectors: Reflector<string>[] = [];

beforeAll(async () => {
  cluster = new TestCluster(stackAddresses().kubeconfig);
  namespace = await cluster.namespace();
  way = await Way.to(cluster.serverUrl);
});
afterEach(() => {
  for (const reflector of reflectors.splice(0)) reflector.stop();
  way.open();
});
afterAll(async () => {
  await way?.close();
  await cluster?.remove();
});

/** TCP to the API server: open, closed (connections are cut), and connections that stay while nothing comes through. */
class Way {
  private readonly pairs = new Set<[Socket, Socket]>();
  private readonly dead = new Set<[Socket, Socket]>();
  private state: 'open' | 'closed' = 'open';
  private constructor(private readonly server: Server) {}

  static async to(url: URL): Promise<Way> {
    const server = createServer();
    const way = new Way(server);
    server.on('connection', (inner) => {
      if (way.state === 'closed') return inner.destroy();
      const outer = connect(Number(url.port), url.hostname);
      const pair: [Socket, Socket] = [inner, outer];
      way.pairs.add(pair);
      for (const [from, to] of [pair, [outer, inner] as const]) {
        from.on('error', () => {});
        from.on('data', (bytes) => way.dead.has(pair) || to.write(bytes));
        from.on('close', () => {
          to.destroy();
          way.pairs.delete(pair);
        });
      }
    });
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    return way;
  }

  get port(): number {
    return (this.server.address() as AddressInfo).port;
  }

  cut(): void {
    for (const [inner] of this.pairs) inner.destroy();
  }

  shut(): void {
    this.state = 'closed';
    this.cut();
  }

  /** The connections of now are dead and do not say so, as behind a middlebox that forgot them; new ones work. */
  forget(): void {
    for (const pair of this.pairs) this.dead.add(pair);
  }

  open(): void {
    this.state = 'open';
  }

  async close(): Promise<void> {
    this.shut();
    await new Promise((resolve) => this.server.close(resolve));
  }
}

function reflect(label: string, options: Partial<ReflectorOptions<string>> = {}) {
  const told: string[] = [];
  const client = cluster.client({
    kubeconfig: cluster.kubeconfigFor({ server: `https://${cluster.serverUrl.hostname}:${way.port}` }),
  });
  const reflector = new Reflector<string>(client, {
    kind: 'ConfigMap',
    namespace,
    labelSelector: `set=${label}`,
    strip: (object) => (object as ConfigMap).data!.value!,
    onChange: (key, object, previous) => {
      told.push(`${key.split('/')[1]} ${previous ?? '-'} → ${object ?? 'gone'}`);
    },
    onTrouble: () => {},
    backoff: { leastMs: 20, mostMs: 100 },
    ...options,
  });
  reflectors.push(reflector);
  reflector.start();
  return { reflector, told };
}

async function put(label: string, name: string, value: string): Promise<void> {
  const metadata = { namespace, name: `${label}-${name}`, labels: { set: label } };
  await cluster.admin.apply({ apiVersion: 'v1', kind: 'ConfigMap', metadata, data: { value } } as ConfigMap, 'test');
}

async function remove(label: string, name: string): Promise<void> {
  const ref = { kind: 'ConfigMap', namespace, name: `${label}-${name}` };
  await cluster.admin.delete(ref, { uid: (await cluster.admin.get(ref))!.metadata!.uid! });
}

it('sees what is there, and then additions, changes and deletions', async () => {
  for (const name of ['a', 'b', 'c']) await put('plain', name, '1');
  const { reflector, told } = reflect('plain', { pageSize: 2 });
  await reflector.synced;
  expect(told.splice(0)).toEqual(['plain-a - → 1', 'plain-b - → 1', 'plain-c - → 1']);
  await put('plain', 'd', '1');
  await put('plain', 'a', '2');
  await remove('plain', 'b');
  await waitFor('three changes', () => told.length === 3);
  expect(told).toEqual(['plain-d - → 1', 'plain-a 1 → 2', 'plain-b 1 → gone']);
  expect(reflector.get(`${namespace}/plain-a`)).toBe('2');
  expect([...reflector.keys()].sort()).toEqual(['a', 'c', 'd'].map((name) => `${namespace}/plain-${name}`));
  expect(reflector.counts).toEqual({ lists: 1, watches: 1, failures: 0, handlerErrors: 0 });
});

it('misses nothing when its connection is cut, and does not list again', async () => {
  const { reflector, told } = reflect('cut');
  await reflector.synced;
  for (let round = 1; round <= 5; round++) {
    way.cut();
    await put('cut', 'a', String(round));
    await waitFor(`change ${round}`, () => reflector.get(`${namespace}/cut-a`) === String(round));
  }
  expect(told.at(-1)).toBe('cut-a 4 → 5');
  expect(reflector.counts.lists).toBe(1);
});

it('misses nothing while the server is away for long, and does not list again', async () => {
  for (const name of ['a', 'b', 'c']) await put('away', name, '1');
  const { reflector, told } = reflect('away');
  await reflector.synced;
  told.length = 0;
  way.shut();
  await waitFor('many failures', () => reflector.counts.failures >= 5);
  await remove('away', 'a');
  await put('away', 'b', '2');
  await put('away', 'd', '1');
  expect(told).toEqual([]);
  way.open();
  await waitFor('all of it', () => told.length === 3);
  expect(told.sort()).toEqual(['away-a 1 → gone', 'away-b 1 → 2', 'away-d - → 1']);
  expect(reflector.counts.lists).toBe(1);
});

it('a connection that is dead and does not say so is found by its pings, long before the watch should have spoken', async () => {
  await put('forgotten', 'a', '1');
  const { reflector, told } = reflect('forgotten');
  await reflector.synced;
  await put('forgotten', 'b', '1');
  await waitFor('the watch', () => told.length === 2);
  way.forget();
  await put('forgotten', 'a', '2');
  expect(reflector.get(`${namespace}/forgotten-a`)).toBe('1');
  await waitFor('the change', () => reflector.get(`${namespace}/forgotten-a`) === '2');
  expect(reflector.counts).toMatchObject({ lists: 1, watches: 2, failures: 1 });
});

it('a quiet connection that lives is left alone', async () => {
  const { reflector } = reflect('quiet');
  await reflector.synced;
  const until = performance.now() + 5_000;
  await waitFor('more pings than a dead one gets', () => performance.now() > until);
  expect(reflector.counts).toEqual({ lists: 1, watches: 1, failures: 0, handlerErrors: 0 });
});
