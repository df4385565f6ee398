import { afterAll, afterEach, beforeAll, expect, it } from '@jest/globals';
import {
  AlreadyExists,
  KubernetesClient,
  type KubernetesClientOptions,
  type KubernetesError,
  type KubernetesObject,
  ServerFault,
  TooManyRequests,
  Unreachable,
} from '#kubernetes/index.js';
import { TestCluster } from '#kubernetes/test-cluster.fixture.js';
import { stackAddresses } from '#testing/config.js';
import { HttpFaultProxy, type ProxiedRequest } from '#testing/http-fault-proxy.js';
import { waitFor } from '#testing/wait-for.js';

let cluster: TestCluster;
let namespace: string;
let proxy: HttpFaultProxy;
let kubeconfig: string;

beforeAll(async () => {
  cluster = new TestCluster(stackAddresses().kubeconfig);
  namespace = await cluster.namespace();
  proxy = await HttpFaultProxy.before(cluster.serverAddress);
  kubeconfig = cluster.kubeconfigFor({ server: proxy.url, ca: proxy.certificate });
});
afterEach(() => expect(proxy.faultsLeft).toBe(0));
afterAll(async () => {
  await cluster?.remove();
  await proxy?.close();
});

function clientWith(options: Partial<KubernetesClientOptions> = {}): KubernetesClient {
  return cluster.client({ kubeconfig, ...options });
}

function configMap(name: string): KubernetesObject {
  return { apiVersion: 'v1', kind: 'ConfigMap', metadata: { namespace, name } };
}

const refTo = (name: string) => ({ kind: 'ConfigMap', namespace, name });
const is = (method: string) => (request: ProxiedRequest) => request.method === method;

async function failureOf(work: Promise<unknown>): Promise<KubernetesError> {
  return await work.then(
    (value) => {
      throw new Error(`no error but ${JSON.stringify(value)}`);
    },
    (error) => error,
  );
}

/** How many objects of this name there are, which the server says and not the proxy. */
async function countOf(name: string): Promise<number> {
  const all = await cluster.admin.list('ConfigMap', namespace);
  return all.filter(({ metadata }) => metadata!.name === name).length;
}

it('a throttled change is made once, after the time that the server asked for', async () => {
  proxy.fail(1, is('POST'), { status: 429, headers: { 'retry-after': '1' } });
  const begun = performance.now();
  await clientWith().create(configMap('throttled'), 'test');
  expect(performance.now() - begun).toBeGreaterThanOrEqual(999);
  expect(await countOf('throttled')).toBe(1);
});

it('a server that throttles for longer than the patience is not asked again, and the caller hears for how long', async () => {
  proxy.fail(1, is('POST'), { status: 429, headers: { 'retry-after': '60' } });
  const failure = await failureOf(clientWith().create(configMap('later'), 'test'));
  expect(failure).toBeInstanceOf(TooManyRequests);
  expect(failure).toMatchObject({ retryable: true, retryAfterMs: 60_000 });
  expect(await countOf('later')).toBe(0);
});

it('a storm of 500s is told call by call, and over when it is over', async () => {
  const client = clientWith();
  await cluster.admin.create(configMap('stormy'), 'test');
  proxy.fail(50, ({ path }) => path.endsWith('/stormy'), { status: 500, body: '{"message":"etcd is away"}' });
  const failures = await Promise.all(Array.from({ length: 50 }, () => failureOf(client.get(refTo('stormy')))));
  for (const failure of failures) {
    expect(failure).toBeInstanceOf(ServerFault);
    expect(failure).toMatchObject({ retryable: true, failure: { status: 500 } });
  }
  expect(await client.get(refTo('stormy'))).toBeDefined();
});

it('a gateway that answers for the server is never taken for its word that there is no such object', async () => {
  const client = clientWith();
  await cluster.admin.create(configMap('hidden'), 'test');
  proxy.fail(1, is('GET'), { status: 404, headers: { 'content-type': 'text/html' }, body: '<html>not found</html>' });
  expect(await failureOf(client.get(refTo('hidden')))).toBeInstanceOf(ServerFault);
  expect(await client.get(refTo('hidden'))).toBeDefined();
});

it('an answer that is slower than the limit ends the call, and other calls do not wait for it', async () => {
  const client = clientWith({ timeoutMs: 400 });
  await client.create(configMap('slow'), 'test');
  proxy.fail(1, is('GET'), { slowMs: 800 });
  const slow = failureOf(client.get(refTo('slow')));
  await waitFor('the slow call', () => proxy.faultsLeft === 0);
  expect(await client.get(refTo('slow'))).toBeDefined();
  const failure = await slow;
  expect(failure).toBeInstanceOf(Unreachable);
  expect(failure.message).toContain('nothing within 400 ms');
});

it('a read whose answer is cut is read again', async () => {
  const client = clientWith();
  await cluster.admin.create(configMap('half-read'), 'test');
  proxy.fail(2, is('GET'), 'cut-answer');
  expect(await client.get(refTo('half-read'))).toMatchObject({ metadata: { name: 'half-read' } });
});

it('a read whose answers are all cut is no answer, and not that there is none', async () => {
  const client = clientWith();
  await cluster.admin.create(configMap('never-read'), 'test');
  proxy.fail(3, is('GET'), 'cut-answer');
  expect(await failureOf(client.get(refTo('never-read')))).toBeInstanceOf(Unreachable);
});

it('a create whose answer is cut is not made twice, and is found by who looks', async () => {
  const client = clientWith();
  proxy.fail(1, is('POST'), 'cut-answer');
  const failure = await failureOf(client.create(configMap('cut'), 'test'));
  expect(failure).toBeInstanceOf(Unreachable);
  const found = await client.get(refTo('cut'));
  expect(found).toMatchObject({ metadata: { name: 'cut', uid: expect.any(String) } });
  expect(await failureOf(client.create(configMap('cut'), 'test'))).toBeInstanceOf(AlreadyExists);
  expect(await client.apply(configMap('cut'), 'test')).toMatchObject({ metadata: { uid: found!.metadata!.uid } });
  expect(await countOf('cut')).toBe(1);
});

it('a delete whose answer is cut took effect, and asked again is done', async () => {
  const client = clientWith();
  const { metadata } = await client.create(configMap('cut-away'), 'test');
  proxy.fail(1, is('DELETE'), 'cut-answer');
  const remove = () => client.delete(refTo('cut-away'), { uid: metadata!.uid! });
  expect(await failureOf(remove())).toBeInstanceOf(Unreachable);
  await remove();
  expect(await countOf('cut-away')).toBe(0);
});

it('calls on connections that went dead end by their time limit, and those after them have new ones', async () => {
  const client = clientWith({ timeoutMs: 1_000 });
  await client.create(configMap('dead'), 'test');
  proxy.tcp.stall(true);
  const failures = await Promise.all([1, 2, 3].map(() => failureOf(client.get(refTo('dead')))));
  for (const failure of failures) {
    expect(failure).toBeInstanceOf(Unreachable);
    expect(failure.message).toContain('nothing within 1000 ms');
  }
  proxy.tcp.stall(false);
  expect(await client.get(refTo('dead'))).toBeDefined();
});
