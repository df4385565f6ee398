import { afterAll, beforeAll, expect, test } from '@jest/globals';
import type { V1Deployment } from '@kubernetes/client-node';
import type { KubernetesObject } from '#kubernetes/index.js';
import { TestCluster } from '#kubernetes/test-cluster.fixture.js';
import { stackAddresses } from '#testing/config.js';
import { waitFor } from '#testing/wait-for.js';
import { FootprintWatch } from './watch.js';

let cluster: TestCluster;
let namespace: string;
let watch: FootprintWatch;
const told: string[] = [];

beforeAll(async () => {
  cluster = new TestCluster(stackAddresses().kubeconfig);
  namespace = await cluster.namespace();
  watch = new FootprintWatch(cluster.admin, {
    kinds: ['Deployment'],
    label: 'watched',
    onChange: ({ watched }) => void told.push(watched!),
    onTrouble: (what, error) => {
      throw new Error(what, { cause: error });
    },
  });
  watch.watch(namespace);
});
afterAll(async () => {
  watch?.stop();
  await cluster?.remove();
});

const ref = { kind: 'Deployment', name: 'odoo' };
const deployment = (image: string) => ({
  ...{ apiVersion: 'apps/v1', kind: 'Deployment', metadata: { name: ref.name, namespace, labels: { watched: 'one' } } },
  spec: {
    selector: { matchLabels: { app: 'watched' } },
    template: { metadata: { labels: { app: 'watched' } }, spec: { containers: [{ name: 'odoo', image }] } },
  },
});

/** Up to date, and what was there before it is gone. */
const stands = (image: string) =>
  waitFor(`${image} to be ready`, async () => {
    const found = await cluster.admin.get<V1Deployment & KubernetesObject>({ ...ref, namespace });
    const { observedGeneration, updatedReplicas, readyReplicas, replicas } = found?.status ?? {};
    const isSeen = observedGeneration === found?.metadata?.generation;
    return isSeen && updatedReplicas === 1 && readyReplicas === 1 && replicas === 1;
  });

test('that it is ready, and that it is gone, is told; that it is not ready any more nobody waits for', async () => {
  await cluster.admin.apply(deployment('odoo:1'), 'test');
  await stands('odoo:1');
  await waitFor('the first word', () => told.length > 0);
  expect(told).toEqual(['one']);
  // While the second one comes it is not what is wanted.
  await cluster.admin.apply(deployment('odoo:2'), 'test');
  await stands('odoo:2');
  await waitFor('the second word', () => told.length > 1);
  expect(told).toEqual(['one', 'one']);
  const { metadata } = (await cluster.admin.get({ ...ref, namespace }))!;
  await cluster.admin.delete({ ...ref, namespace }, { uid: metadata!.uid! });
  await waitFor('the last word', () => told.length > 2);
  expect(told).toEqual(['one', 'one', 'one']);
});
