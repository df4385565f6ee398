import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { ensureCached } from './build-cache.js';
import { startCluster } from './cluster.js';
import { ClusterApi } from './cluster-api.js';
import { readConfig } from './config.js';
import { controlPlane, definitions, kwok } from './go.js';
import { killProcess, startProcess } from './processes.js';
import { newTestState, removeTestState } from './test-state.js';
import { waitUntil } from './wait.js';

// A cluster of its own: a crash in the one that all tests share would be the others' too.
const config = readConfig();
const state = newTestState();
const quiet = () => {};
let api: ClusterApi;

beforeAll(async () => {
  const definitionFolder = await ensureCached(config.cache, definitions(config), quiet);
  const tools = {
    bin: await ensureCached(config.cache, controlPlane(config), quiet),
    kwok: join(await ensureCached(config.cache, kwok(config), quiet), 'kwok'),
    kwokFolder: join(config.root, 'deploy/local/kwok'),
    definitions: readdirSync(definitionFolder).map((file) => join(definitionFolder, file)),
  };
  api = await ClusterApi.open(await startCluster(state, tools, { nodes: 1, durable: false, realNode: false }, quiet));
}, 120_000);
afterAll(async () => {
  await api?.close();
  await removeTestState(config, state);
}, 60_000);

test('a killed kube-apiserver comes back at its address with its data, and the cluster goes on', async () => {
  const path = '/apis/apps/v1/namespaces/default/deployments';
  const deployment = (name: string) => ({
    metadata: { name },
    spec: {
      selector: { matchLabels: { app: name } },
      template: { metadata: { labels: { app: name } }, spec: { containers: [{ name: 'main', image: 'none:1' }] } },
    },
  });
  const available = (name: string) =>
    waitUntil(
      `${name} is not available`,
      async () =>
        (await api.get<{ status: { availableReplicas?: number } }>(`${path}/${name}`)).status.availableReplicas === 1,
      { withinMs: 60_000 },
    );
  await api.create(path, deployment('before'));
  await available('before');

  await killProcess(state.folder, 'kube-apiserver');
  await expect(api.ready()).rejects.toThrow();

  await startProcess(state.folder, 'kube-apiserver');
  await waitUntil('it does not answer again', () => api.ready(), { withinMs: 60_000 });
  await available('before');
  await api.create(path, deployment('after'));
  await available('after');
}, 180_000);
