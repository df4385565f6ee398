import diagnostics from 'node:diagnostics_channel';
import { afterAll, beforeAll, expect, it } from '@jest/globals';
import { ApiException, CoreV1Api } from '@kubernetes/client-node';
import { stackAddresses } from '#testing/config.js';
import { waitFor } from '#testing/wait-for.js';
import { AlreadyExists, Conflict, Forbidden, Invalid, KubernetesError, NotFound } from './errors.js';
import type { KubernetesObject, ObjectRef } from './resources.js';
import { TestCluster } from './test-cluster.fixture.js';
import { typedApis } from './typed-apis.js';

type ConfigMap = KubernetesObject & { data?: Record<string, string> };

let cluster: TestCluster;
let namespace: string;

beforeAll(async () => {
  cluster = new TestCluster(stackAddresses().kubeconfig);
  namespace = await cluster.namespace();
});
afterAll(() => cluster?.remove());

const ref = (name: string, within = namespace): ObjectRef => ({ kind: 'ConfigMap', namespace: within, name });
const configMap = (name: string, value: string, metadata: KubernetesObject['metadata'] = {}): ConfigMap => ({
  apiVersion: 'v1',
  kind: 'ConfigMap',
  metadata: { ...metadata, namespace, name },
  data: { value },
});

async function failureOf(work: Promise<unknown>): Promise<KubernetesError> {
  const failure = await work.then(
    () => undefined,
    (error) => error,
  );
  expect(failure).toBeInstanceOf(KubernetesError);
  return failure;
}

it('apply makes, changes and repeats; a repetition changes nothing', async () => {
  const made = await cluster.admin.apply(configMap('applied', '1'), 'test');
  const same = await cluster.admin.apply(configMap('applied', '1'), 'test');
  expect(same.metadata!.resourceVersion).toBe(made.metadata!.resourceVersion);
  const changed = await cluster.admin.apply(configMap('applied', '2'), 'test');
  expect(changed.metadata!.resourceVersion).not.toBe(made.metadata!.resourceVersion);
  expect(await cluster.admin.get<ConfigMap>(ref('applied'))).toMatchObject({ data: { value: '2' } });
});

it('apply with a stale resourceVersion is a conflict and changes nothing', async () => {
  const read = await cluster.admin.apply(configMap('stale', '1'), 'test');
  await cluster.admin.apply(configMap('stale', '2'), 'test');
  const { resourceVersion } = read.metadata!;
  const failure = await failureOf(cluster.admin.apply(configMap('stale', '3', { resourceVersion }), 'test'));
  expect(failure).toBeInstanceOf(Conflict);
  expect(failure.message).toContain(`apply ConfigMap ${namespace}/stale: `);
  expect(await cluster.admin.get<ConfigMap>(ref('stale'))).toMatchObject({ data: { value: '2' } });
});

it('apply makes an object anew that is gone, unless its uid is given', async () => {
  const { uid, resourceVersion } = (await cluster.admin.apply(configMap('gone', '1'), 'test')).metadata!;
  await cluster.admin.delete(ref('gone'), { uid: uid! });
  const failure = await failureOf(cluster.admin.apply(configMap('gone', '2', { uid, resourceVersion }), 'test'));
  expect(failure).toBeInstanceOf(Conflict);
  expect(await cluster.admin.get(ref('gone'))).toBeUndefined();
  await cluster.admin.apply(configMap('gone', '2', { resourceVersion }), 'test');
  expect(await cluster.admin.get<ConfigMap>(ref('gone'))).toMatchObject({ data: { value: '2' } });
});

it('without force a field that another manager has is a conflict', async () => {
  await cluster.admin.apply(configMap('shared', '1'), 'one');
  const failure = await failureOf(cluster.admin.apply(configMap('shared', '2'), 'two', { force: false }));
  expect(failure).toBeInstanceOf(Conflict);
  expect(await cluster.admin.apply(configMap('shared', '2'), 'two')).toMatchObject({ data: { value: '2' } });
});

it('create makes once, and a misspelt field is an error', async () => {
  await cluster.admin.create(configMap('created', '1'), 'test');
  expect(await failureOf(cluster.admin.create(configMap('created', '2'), 'test'))).toBeInstanceOf(AlreadyExists);
  const misspelt = { ...configMap('misspelt', '1'), date: {} };
  expect(await failureOf(cluster.admin.create(misspelt, 'test'))).toBeInstanceOf(Invalid);
  expect(await cluster.admin.get<ConfigMap>(ref('created'))).toMatchObject({ data: { value: '1' } });
});

it('delete ends exactly what was read', async () => {
  const { uid, resourceVersion } = (await cluster.admin.apply(configMap('deleted', '1'), 'test')).metadata!;
  const other = '00000000-0000-4000-8000-000000000000';
  expect(await failureOf(cluster.admin.delete(ref('deleted'), { uid: other }))).toBeInstanceOf(Conflict);
  await cluster.admin.apply(configMap('deleted', '2'), 'test');
  const stale = cluster.admin.delete(ref('deleted'), { uid: uid!, resourceVersion });
  expect(await failureOf(stale)).toBeInstanceOf(Conflict);
  expect(await cluster.admin.get(ref('deleted'))).toBeDefined();
  await cluster.admin.delete(ref('deleted'), { uid: uid! });
  expect(await cluster.admin.get(ref('deleted'))).toBeUndefined();
  await cluster.admin.delete(ref('deleted'), { uid: uid! });
});

it('merge changes what it names', async () => {
  await cluster.admin.apply(configMap('merged', '1'), 'test');
  await cluster.admin.merge(ref('merged'), { data: { more: '2' } }, 'test');
  expect(await cluster.admin.get<ConfigMap>(ref('merged'))).toMatchObject({ data: { value: '1', more: '2' } });
});

it('nothing there is told from what it would be in', async () => {
  expect(await cluster.admin.get(ref('never'))).toBeUndefined();
  expect(await cluster.admin.get({ kind: 'IngressRoute', namespace, name: 'never' })).toBeUndefined();
  const object = { ...configMap('never', '1'), metadata: { namespace: `${namespace}-never`, name: 'never' } };
  const failure = await failureOf(cluster.admin.apply(object, 'test'));
  expect(failure).toBeInstanceOf(NotFound);
  expect(failure.failure.about).toBe(`${namespace}-never`);
});

it('a list finds all, page after page', async () => {
  const names = Array.from({ length: 7 }, (_, index) => `listed-${index}`);
  for (const name of names) await cluster.admin.apply(configMap(name, '1', { labels: { listed: 'yes' } }), 'test');
  const first = await cluster.admin.listPage('ConfigMap', namespace, { limit: '3', labelSelector: 'listed=yes' });
  expect(first.items).toHaveLength(3);
  expect(first.next).not.toBe('');
  const all = await cluster.admin.list('ConfigMap', namespace, 'listed=yes');
  expect(all.map(({ metadata }) => metadata!.name)).toEqual(names);
});

it('a full quota is told from other refusals', async () => {
  const full = await cluster.namespace(`${namespace}-full`);
  const quota = {
    apiVersion: 'v1',
    kind: 'ResourceQuota',
    metadata: { namespace: full, name: 'fuse' },
    spec: { hard: { 'count/secrets': '1' } },
  };
  await cluster.admin.apply(quota, 'test');
  const secret = (name: string) => ({ apiVersion: 'v1', kind: 'Secret', metadata: { namespace: full, name } });
  let made = 0;
  const failure = await waitFor('the quota to be known and full', async () => {
    try {
      await cluster.admin.create(secret(`s${made++}`), 'test');
      return undefined;
    } catch (error) {
      return error;
    }
  });
  expect(failure).toBeInstanceOf(Forbidden);
  expect(failure).toMatchObject({ byQuota: true, retryable: true });
});

it('a Secret that the server cannot take is not quoted', async () => {
  const secret = {
    apiVersion: 'v1',
    kind: 'Secret',
    metadata: { namespace, name: 'odd' },
    stringData: { password: ['hunter2'] },
  };
  // So it is in the server's own words:
  const raw = await cluster.admin.server.send({
    verb: 'apply',
    kind: 'Secret',
    object: 'odd',
    method: 'PATCH',
    path: `/api/v1/namespaces/${namespace}/secrets/odd?fieldManager=test`,
    body: JSON.stringify(secret),
    contentType: 'application/apply-patch+yaml',
  });
  expect(raw.text).toContain('hunter2');
  const failure = await failureOf(cluster.admin.apply(secret, 'test'));
  expect(JSON.stringify([failure.message, failure.stack, failure.failure])).not.toContain('hunter2');
});

it('a token that is not valid is refused with a word about what to look at', async () => {
  const client = cluster.client({ kubeconfig: cluster.kubeconfigFor({ token: 'wrong' }) });
  const failure = await failureOf(client.get(ref('any')));
  expect(failure).toBeInstanceOf(Forbidden);
  expect(failure.message).toContain("the kubeconfig's token or certificate is not valid");
});

it('two hundred calls at once share at most 16 connections, all HTTP/1.1', async () => {
  const client = cluster.client();
  let connected = 0;
  const count = () => {
    connected += 1;
  };
  diagnostics.subscribe('undici:client:connected', count);
  try {
    for (let round = 0; round < 2; round++)
      await Promise.all(Array.from({ length: 200 }, (_, index) => client.get(ref(`many-${index}`))));
  } finally {
    diagnostics.unsubscribe('undici:client:connected', count);
  }
  expect(connected).toBeGreaterThan(1);
  expect(connected).toBeLessThanOrEqual(16);
});

it('client-node’s own classes work over the same connections', async () => {
  await cluster.admin.apply(configMap('typed', '1'), 'test');
  const api = new CoreV1Api(typedApis(cluster.admin));
  const read = await api.readNamespacedConfigMap({ name: 'typed', namespace });
  expect(read.data).toEqual({ value: '1' });
  expect(read.metadata!.creationTimestamp).toBeInstanceOf(Date);
  const missing = api.readNamespacedConfigMap({ name: 'never', namespace });
  await expect(missing).rejects.toMatchObject({ code: 404 });
  await expect(missing).rejects.toBeInstanceOf(ApiException);
});
