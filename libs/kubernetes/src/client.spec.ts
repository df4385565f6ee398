import { once } from 'node:events';
import type { ServerResponse } from 'node:http';
import { type AddressInfo, createServer, type Socket } from 'node:net';
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { CoreV1Api } from '@kubernetes/client-node';
import { TestMeters } from '#testing/test-meters.js';
import { waitFor } from '#testing/wait-for.js';
import { KubernetesClient, type KubernetesClientOptions } from './client.js';
import {
  AlreadyExists,
  Conflict,
  Forbidden,
  Gone,
  Invalid,
  type KubernetesError,
  NotFound,
  ServerFault,
  TooManyRequests,
  Unreachable,
} from './errors.js';
import {
  json,
  kubeconfigOf,
  type ScriptedServer,
  type SeenRequest,
  startServer,
  status,
} from './scripted-server.fixture.js';
import { typedApis } from './typed-apis.js';

const ref = { kind: 'ConfigMap', namespace: 'ns', name: 'a' };
const object = { apiVersion: 'v1', kind: 'ConfigMap', metadata: { namespace: 'ns', name: 'a' } };

let answer: (request: SeenRequest, response: ServerResponse) => void;
let server: ScriptedServer;
let meters: TestMeters;
let clients: KubernetesClient[];

beforeEach(async () => {
  answer = (_, response) => json(response, 200, object);
  server = await startServer((request, response) => answer(request, response));
  meters = new TestMeters();
  clients = [];
});

afterEach(async () => {
  await server.close();
  await Promise.all(clients.map((client) => client.close()));
  await meters.remove();
});

function clientWith(options: Partial<KubernetesClientOptions> = {}): KubernetesClient {
  const client = new KubernetesClient({
    kubeconfig: server.kubeconfig(),
    ...options,
  });
  clients.push(client);
  return client;
}

async function failureOf(work: Promise<unknown>): Promise<KubernetesError> {
  return await work.then(
    (value) => {
      throw new Error(`no error but ${JSON.stringify(value)}`);
    },
    (error) => error,
  );
}

describe('what is sent', () => {
  it('apply: the whole object, as one field manager, by force unless said otherwise', async () => {
    await clientWith().apply(object, 'mesh-footprint');
    await clientWith().apply(object, 'mesh-footprint', { force: false });
    const [request, mild] = server.requests;
    expect(request).toMatchObject({ method: 'PATCH', path: '/api/v1/namespaces/ns/configmaps/a' });
    expect(Object.fromEntries(request!.query)).toEqual({ fieldManager: 'mesh-footprint', force: 'true' });
    expect(request!.headers).toMatchObject({
      'content-type': 'application/apply-patch+yaml',
      authorization: 'Bearer t0ken',
    });
    expect(JSON.parse(request!.body)).toEqual(object);
    expect(mild!.query.get('force')).toBe('false');
  });

  it('delete: what was read, and nothing that came after it', async () => {
    await clientWith().delete(ref, { uid: 'u1', resourceVersion: '7' }, { propagation: 'Foreground' });
    expect(server.requests[0]).toMatchObject({ method: 'DELETE', path: '/api/v1/namespaces/ns/configmaps/a' });
    expect(JSON.parse(server.requests[0]!.body)).toEqual({
      apiVersion: 'v1',
      kind: 'DeleteOptions',
      preconditions: { uid: 'u1', resourceVersion: '7' },
      propagationPolicy: 'Foreground',
    });
  });

  it('list: page after page', async () => {
    answer = ({ query }, response) =>
      json(response, 200, {
        items: [{ metadata: { name: query.get('continue') ?? 'first' } }],
        metadata: { resourceVersion: '9', ...(!query.get('continue') && { continue: 'second' }) },
      });
    const found = await clientWith().list('Pod', 'ns', 'app=odoo');
    expect(found).toEqual([{ metadata: { name: 'first' } }, { metadata: { name: 'second' } }]);
    expect(server.requests.map(({ path, query }) => [path, Object.fromEntries(query)])).toEqual([
      ['/api/v1/namespaces/ns/pods', { limit: '500', labelSelector: 'app=odoo' }],
      ['/api/v1/namespaces/ns/pods', { limit: '500', labelSelector: 'app=odoo', continue: 'second' }],
    ]);
  });

  it('everything below the path that the server has', async () => {
    const kubeconfig = server.kubeconfig(kubeconfigOf({ server: `${server.url}/k8s/c1` }, { token: 't' }));
    const client = clientWith({ kubeconfig });
    await client.get(ref);
    await new CoreV1Api(typedApis(client)).readNamespacedConfigMap({ name: 'a', namespace: 'ns' });
    expect(server.requests.map(({ path }) => path)).toEqual([
      '/k8s/c1/api/v1/namespaces/ns/configmaps/a',
      '/k8s/c1/api/v1/namespaces/ns/configmaps/a',
    ]);
    expect(await meters.read()).toEqual({ 'kubernetes.client.call.seconds get ConfigMap 200': 2 });
  });

  it.each(['..', '.', ''])('nothing for an object called %j: it would be another one', async (name) => {
    await expect(clientWith().get({ ...ref, name })).rejects.toThrow("no object's name");
    expect(server.requests).toEqual([]);
  });

  it('a name is one segment of the path whatever it holds', async () => {
    await clientWith().get({ ...ref, name: 'a/../../secrets?x' });
    expect(server.requests[0]!.path).toBe('/api/v1/namespaces/ns/configmaps/a%2F..%2F..%2Fsecrets%3Fx');
  });
});

describe('could not look is not nothing there', () => {
  it('undefined when the server says that there is no such object', async () => {
    answer = (_, response) => json(response, 404, status(404, 'NotFound', 'configmaps "a" not found', { name: 'a' }));
    expect(await clientWith().get(ref)).toBeUndefined();
    await clientWith().delete(ref, { uid: 'u' });
  });

  const strange: {
    what: string;
    respond: (response: ServerResponse) => void;
    kind: new (...args: never[]) => Error;
  }[] = [
    {
      what: 'a 404 of something in between',
      respond: (r) => r.writeHead(404).end('404 page not found'),
      kind: ServerFault,
    },
    { what: 'a 404 of somebody else', respond: (r) => json(r, 404, { message: 'no such route' }), kind: ServerFault },
    {
      what: 'a 404 about the namespace',
      respond: (r) => json(r, 404, status(404, 'NotFound', 'namespaces "ns" not found', { name: 'ns' })),
      kind: NotFound,
    },
    { what: 'a 500', respond: (r) => json(r, 500, status(500, 'InternalError', 'etcd')), kind: ServerFault },
    { what: 'a 503 of a load balancer', respond: (r) => r.writeHead(503).end('<html>'), kind: ServerFault },
    { what: 'a redirection', respond: (r) => r.writeHead(302, { location: '/login' }).end(), kind: ServerFault },
    { what: 'an answer that is no object', respond: (r) => r.writeHead(200).end('<html>hunter2'), kind: ServerFault },
    {
      what: 'an answer that is cut',
      respond: (r) => r.writeHead(200, { 'content-length': '100' }).write('{"a', () => r.destroy()),
      kind: Unreachable,
    },
    { what: 'no answer', respond: (r) => r.destroy(), kind: Unreachable },
  ];
  it.each(strange)('an error on $what', async ({ respond, kind }) => {
    answer = (_, response) => respond(response);
    const client = clientWith();
    for (const work of [() => client.get(ref), () => client.delete(ref, { uid: 'u' })]) {
      const error = await failureOf(work());
      expect(error).toBeInstanceOf(kind);
      expect(error.message).not.toContain('hunter2');
    }
  });

  it('an error when nobody listens', async () => {
    const client = clientWith();
    await server.close();
    const error = await failureOf(client.get(ref));
    expect(error).toBeInstanceOf(Unreachable);
    expect(error.message).toMatch(/^get ConfigMap ns\/a: no answer from http:\/\/127.0.0.1:\d+: .*ECONNREFUSED/);
    server = await startServer(() => {});
  });
});

describe('refusals have a type and say whether it helps to try again', () => {
  const quota = 'pods "a" is forbidden: exceeded quota: fuse, requested: pods=1, used: pods=9, limited: pods=9';
  it.each([
    [400, 'BadRequest', 'no', Invalid, false],
    [422, 'Invalid', 'no', Invalid, false],
    [401, 'Unauthorized', 'Unauthorized', Forbidden, false],
    [403, 'Forbidden', 'no', Forbidden, false],
    [403, 'Forbidden', quota, Forbidden, true],
    [409, 'AlreadyExists', 'no', AlreadyExists, false],
    [409, 'Conflict', 'no', Conflict, true],
    [410, 'Expired', 'no', Gone, true],
    [500, 'InternalError', 'no', ServerFault, true],
    [504, 'Timeout', 'no', ServerFault, true],
  ] as const)('%d %s (%s)', async (code, reason, message, kind, retryable) => {
    answer = (_, response) => json(response, code, status(code, reason, message, { name: 'a' }));
    const error = await failureOf(clientWith().create(object, 'm'));
    expect(error).toBeInstanceOf(kind);
    expect(error.name).toBe(kind.name);
    expect(error.retryable).toBe(retryable);
    expect(error.message).toContain(`create ConfigMap ns/a: ${message}`);
    expect(error.failure).toMatchObject({ verb: 'create', object: 'ConfigMap ns/a', status: code, reason, about: 'a' });
  });

  it('a quota’s refusal is told from the others', async () => {
    answer = (_, response) => json(response, 403, status(403, 'Forbidden', quota));
    expect(await failureOf(clientWith().create(object, 'm'))).toMatchObject({ byQuota: true });
    answer = (_, response) => json(response, 403, status(403, 'Forbidden', 'User "x" cannot create'));
    expect(await failureOf(clientWith().create(object, 'm'))).toMatchObject({ byQuota: false });
  });

  it.each([400, 422, 500])('a %d about a Secret is not quoted: it may hold what was sent', async (code) => {
    answer = (_, response) => json(response, code, status(code, 'Invalid', '.stringData.x: got "hunter2"'));
    const secret = { ...object, kind: 'Secret', stringData: { x: 'hunter2' } };
    const client = clientWith();
    for (const work of [() => client.apply(secret, 'm'), () => client.create(secret, 'm')]) {
      const error = await failureOf(work());
      expect(JSON.stringify([error.message, error.stack, error.failure])).not.toContain('hunter2');
      expect(error.message).toContain(`HTTP ${code} (Invalid)`);
    }
  });
});

describe('faults on the way', () => {
  it('a read whose connection breaks is asked again', async () => {
    answer = (_, response) => (server.requests.length < 3 ? response.destroy() : json(response, 200, object));
    expect(await clientWith().get(ref)).toEqual(object);
    expect(await meters.read()).toEqual({
      'kubernetes.client.call.seconds get ConfigMap 0': 2,
      'kubernetes.client.call.seconds get ConfigMap 200': 1,
      'kubernetes.client.retries get ConfigMap broken': 2,
    });
  });

  it('but not for ever', async () => {
    answer = (_, response) => response.destroy();
    expect(await failureOf(clientWith().get(ref))).toMatchObject({ name: 'Unreachable', retryable: true });
    expect(server.requests).toHaveLength(3);
  });

  it('a change is never asked twice: nobody knows whether it was made', async () => {
    answer = (_, response) => response.destroy();
    const client = clientWith();
    const changes = [
      () => client.apply(object, 'm'),
      () => client.create(object, 'm'),
      () => client.merge(ref, {}, 'm'),
      () => client.delete(ref, { uid: 'u' }),
    ];
    for (const change of changes) expect(await failureOf(change())).toBeInstanceOf(Unreachable);
    expect(server.requests).toHaveLength(changes.length);
  });

  it('a call that is not answered in time ends, once, and says after how long', async () => {
    const client = clientWith({ timeoutMs: 200 });
    // So that the connection is there: what is measured is the answer.
    await client.get(ref);
    answer = () => {};
    const error = await failureOf(client.get(ref));
    expect(error).toBeInstanceOf(Unreachable);
    expect(error.message).toContain('nothing within 200 ms');
    await waitFor('the request', () => server.requests.length > 1);
    expect(server.requests).toHaveLength(2);
  });

  it('the time limit covers a body that never ends, and the wait for a connection', async () => {
    answer = (_, response) => response.writeHead(200).write('{"a":');
    const client = clientWith({ connections: 1 });
    const calls = [1, 2].map(() => failureOf(client.get(ref, { timeoutMs: 60 })));
    for (const error of await Promise.all(calls)) expect(error.message).toContain('nothing within 60 ms');
  });

  it('the time limit covers a connection that never comes about', async () => {
    const silent = createServer();
    const sockets: Socket[] = [];
    silent.on('connection', (socket) => sockets.push(socket));
    await once(silent.listen(0, '127.0.0.1'), 'listening');
    const url = `https://127.0.0.1:${(silent.address() as AddressInfo).port}`;
    const client = clientWith({ kubeconfig: server.kubeconfig(kubeconfigOf({ server: url }, { token: 't' })) });
    const begun = performance.now();
    const error = await failureOf(client.get(ref, { timeoutMs: 60 }));
    expect(error.message).toContain('nothing within 60 ms');
    expect(performance.now() - begun).toBeLessThan(2_000);
    for (const socket of sockets) socket.destroy();
    silent.close();
  });

  it('a caller who gives up gets their own reason back', async () => {
    answer = () => {};
    const reason = new Error('lease lost');
    const end = new AbortController();
    const call = failureOf(clientWith().get(ref, { signal: end.signal }));
    await waitFor('the request', () => server.requests.length === 1);
    end.abort(reason);
    expect(await call).toBe(reason);
    expect(await failureOf(clientWith().get(ref, { signal: end.signal }))).toBe(reason);
    expect(server.requests).toHaveLength(1);
  });
});

describe('429 is flow control', () => {
  const slowDown = (response: ServerResponse, after: string) =>
    json(response, 429, status(429, 'TooManyRequests', 'slow down'), { 'retry-after': after });

  it('is waited for as long as the server asks, for changes too', async () => {
    answer = (_, response) => (server.requests.length === 1 ? slowDown(response, '0.2') : json(response, 200, object));
    const begun = performance.now();
    await clientWith().apply(object, 'm');
    expect(performance.now() - begun).toBeGreaterThanOrEqual(199);
    expect(await meters.read()).toEqual({
      'kubernetes.client.call.seconds apply ConfigMap 200': 1,
      'kubernetes.client.call.seconds apply ConfigMap 429': 1,
      'kubernetes.client.retries apply ConfigMap throttled': 1,
    });
  });

  it('ends in an error when patience ends, which says when to come again', async () => {
    answer = (_, response) => slowDown(response, '0.1');
    const error = await failureOf(clientWith({ patienceMs: 350 }).get(ref));
    expect(error).toBeInstanceOf(TooManyRequests);
    expect(error).toMatchObject({ retryAfterMs: 100, retryable: true, failure: { status: 429 } });
    expect(server.requests.length).toBeGreaterThanOrEqual(3);
    expect(server.requests.length).toBeLessThanOrEqual(4);
  });

  it('is not waited for at all when the server asks for more than patience', async () => {
    answer = (_, response) => slowDown(response, '3600');
    expect(await failureOf(clientWith().get(ref))).toMatchObject({ retryAfterMs: 3_600_000 });
    expect(server.requests).toHaveLength(1);
  });

  it('and who gives up waits no longer', async () => {
    answer = (_, response) => slowDown(response, '10');
    const end = new AbortController();
    const call = failureOf(clientWith().get(ref, { signal: end.signal }));
    await waitFor(
      'the refusal',
      async () => 'kubernetes.client.retries get ConfigMap throttled' in (await meters.read()),
    );
    const reason = new Error('stop');
    end.abort(reason);
    expect(await call).toBe(reason);
  });
});

it('many calls share few connections, which are kept', async () => {
  answer = (_, response) => void setImmediate(() => json(response, 200, object));
  const client = clientWith();
  for (let round = 0; round < 3; round++) await Promise.all(Array.from({ length: 100 }, () => client.get(ref)));
  expect(server.requests).toHaveLength(300);
  expect(server.connections).toBeLessThanOrEqual(16);
});

it('a delete, which has a body, keeps its connection too', async () => {
  const client = clientWith({ connections: 1 });
  for (let i = 0; i < 3; i++) await client.delete(ref, { uid: 'u-1' });
  expect(server.connections).toBe(1);
});

it('under pressure interactive calls go before bulk ones', async () => {
  const client = clientWith({ rate: { perSecond: 200, burst: 1 }, connections: 1 });
  const call = (name: string, priority: 'interactive' | 'bulk') => client.get({ ...ref, name }, { priority });
  await Promise.all([call('first', 'bulk'), call('b1', 'bulk'), call('b2', 'bulk'), call('i1', 'interactive')]);
  expect(server.requests.map(({ path }) => path.split('/').at(-1))).toEqual(['first', 'i1', 'b1', 'b2']);
});

describe('a fence', () => {
  it('that throws lets nothing through to the server, and what it threw is what the caller gets', async () => {
    const lost = new Error('the lease is lost');
    const fence = () => {
      throw lost;
    };
    expect(await failureOf(clientWith().apply(object, 'spec', { fence }))).toBe(lost);
    expect(server.requests).toEqual([]);
  });

  it('is looked at when the request is written, and not before it has waited for its connection', async () => {
    const client = clientWith({ connections: 1 });
    let release = () => {};
    answer = (_, response) => {
      release = () => json(response, 200, object);
    };
    const first = client.get(ref);
    await waitFor('the first request', () => server.requests.length === 1);
    let held = true;
    const fence = () => {
      if (!held) throw new Error('lost meanwhile');
    };
    const second = failureOf(client.apply(object, 'spec', { fence }));
    held = false;
    release();
    await first;
    expect(await second).toMatchObject({ message: 'lost meanwhile' });
    expect(server.requests).toHaveLength(1);
  });

  it('is looked at again before each repeat', async () => {
    let asked = 0;
    answer = (_, response) =>
      asked < 2 ? json(response, 429, status(429, 'TooManyRequests', 'slow')) : json(response, 200, object);
    await clientWith().apply(object, 'spec', { fence: () => void asked++ });
    expect(asked).toBe(2);
  });
});
