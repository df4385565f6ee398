import { once } from 'node:events';
import { type ClientHttp2Session, type ClientHttp2Stream, connect, constants } from 'node:http2';
import { afterAll, afterEach, beforeAll, beforeEach, it } from '@jest/globals';
import { readConnection } from '#kubernetes/connection.js';
import { collectionPath } from '#kubernetes/resources.js';
import { TestCluster } from '#kubernetes/test-cluster.fixture.js';
import { stackAddresses } from './config.js';
import { HttpFaultProxy } from './http-fault-proxy.js';
import { TcpProxy } from './tcp-proxy.js';
import { waitFor } from './wait-for.js';

const MiB = 2 ** 20;
const objects = 20;

let cluster: TestCluster;
let path: string;
let headers: Readonly<Record<string, string>>;
/** Behind the proxy: of what it reads from the server, and on how many connections. (A watch has one for itself there.) */
let toServer: TcpProxy;
let read: number;
let proxy: HttpFaultProxy;
let sessions: ClientHttp2Session[];

beforeAll(async () => {
  const { kubeconfig } = stackAddresses();
  cluster = new TestCluster(kubeconfig);
  const namespace = await cluster.namespace();
  path = collectionPath('ConfigMap', namespace);
  headers = readConnection(kubeconfig).headers;
  for (let n = 0; n < objects; n++) {
    const metadata = { namespace, name: `large-${n}` };
    const data = { text: 'x'.repeat(0.8 * MiB) };
    await cluster.admin.create({ apiVersion: 'v1', kind: 'ConfigMap', metadata, data } as never, 'test');
  }
});

beforeEach(async () => {
  const { origin, ca } = cluster.serverAddress;
  toServer = await TcpProxy.before(origin);
  read = 0;
  toServer.faults.watch = (chunk, direction) => {
    if (direction === 'down') read += chunk.length;
    return undefined;
  };
  proxy = await HttpFaultProxy.before({ origin: new URL(toServer.through(origin)).origin, ca });
  sessions = [];
});

afterEach(async () => {
  for (const session of sessions) session.destroy();
  await proxy.close();
  await toServer.close();
});

afterAll(async () => await cluster?.remove());

/** @param window how many bytes its streams, and all of them together, take before they are read. */
async function caller(window?: number): Promise<ClientHttp2Session> {
  const session = connect(proxy.url, {
    ca: proxy.certificate,
    ...(window && { settings: { initialWindowSize: window } }),
  });
  session.on('error', () => {});
  sessions.push(session);
  await once(session, 'connect');
  if (window) session.setLocalWindowSize(window);
  return session;
}

/** One that reads nothing of what it is told, which is all the objects. */
function watch(session: ClientHttp2Session): ClientHttp2Stream {
  const stream = session.request({ ...headers, ':path': `${path}?watch=true&resourceVersion=0` });
  stream.on('error', () => {});
  return stream;
}

/** So many watches are open, and the proxy has all that it takes while their caller reads nothing. */
async function full(watches: number): Promise<void> {
  let before = 0;
  let looks = 0;
  await waitFor('the proxy to read no more', () => {
    looks = read > before ? 0 : looks + 1;
    before = read;
    return proxy.openWatches === watches && looks >= 20;
  });
}

/** For the proxy and for the server. */
async function noWatchIsLeft(): Promise<void> {
  await waitFor('no watch', () => {
    const left = { watches: proxy.openWatches, atTheServer: toServer.connections };
    if (left.watches + left.atTheServer === 0) return true;
    throw new Error(JSON.stringify(left));
  });
}

it.each(['NGHTTP2_NO_ERROR', 'NGHTTP2_CANCEL'] as const)(
  'a watch whose caller leaves it (%s) while events wait for it is over',
  async (reason) => {
    const stream = watch(await caller());
    await full(1);
    stream.close(constants[reason]);
    await noWatchIsLeft();
  },
);

it.each(['the network', 'the caller'])(
  'watches are over when %s breaks their connection while more waits for them than it takes',
  async (who) => {
    const session = await caller(1_024 * MiB);
    // Together they are told more than systems keep on the way.
    for (let n = 0; n < 4; n++) watch(session);
    proxy.tcp.faults.watch = () => void (proxy.openWatches === 4 && proxy.tcp.stall(true));
    await full(4);
    proxy.tcp.faults.watch = undefined;
    if (who === 'the network') proxy.tcp.cut();
    else session.socket.destroy();
    proxy.tcp.stall(false);
    await noWatchIsLeft();
  },
);
