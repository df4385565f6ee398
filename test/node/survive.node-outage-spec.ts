import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import type { V1PersistentVolume, V1PersistentVolumeClaim } from '@kubernetes/client-node';
import type { KubernetesObject } from '#kubernetes/index.js';
import { Processes } from '#local/processes.js';
import { labelNames } from '#odoo/index.js';
import { waitFor } from '#testing/wait-for.js';
import { stackEnvironment } from '../e2e/config.js';
import { TestMesh } from '../e2e/test-mesh.js';
import { allReady, ledger } from '../reliability/fixtures/mesh-ledger.js';
import { LivingInstance, pageAt } from './living-instance.js';

const count = 10;
const { MESH_STATE } = stackEnvironment();
const processes = new Processes(MESH_STATE);

const ended = new AbortController();

let mesh: TestMesh;
let supervision: Promise<unknown> | undefined;
let instances: LivingInstance[];

beforeAll(async () => {
  mesh = await TestMesh.start({ jobLease: '2s' });
  supervision = Promise.all([
    ...supervised.map((name) => supervise(() => processes.startAgain(name))),
    supervise(() => mesh.services.start('provisioner')),
  ]);
});
afterAll(async () => {
  ended.abort();
  await supervision;
  await mesh?.stop();
});

const ofTheNode = [
  'containerd',
  'kubelet',
  'kube-proxy',
  'coredns',
  'volume-driver',
  'csi-provisioner',
  'network-policies',
  'traefik',
] as const;
const supervised = ['kube-apiserver', ...ofTheNode] as const;

/** As a supervisor of the machine does: what has died is started again, until it stays. */
async function supervise(startAgain: () => Promise<void>): Promise<void> {
  while (!ended.signal.aborted) {
    await startAgain().catch(() => {});
    await pause(100);
  }
}

/** SIGKILL to all of them; the supervisor sees it. */
async function strike(...names: readonly ((typeof supervised)[number] | 'provisioner')[]): Promise<void> {
  await Promise.all(names.map((name) => (name === 'provisioner' ? mesh.services.kill(name) : processes.kill(name))));
}

const volumeFile = (volume: string) => join(MESH_STATE, 'node/volumes/volumes', volume);

/** Loop devices of this machine whose file has this name, even if it is deleted. */
function devicesOf(volume: string): string[] {
  return readdirSync('/sys/block').filter((device) => {
    const file = join('/sys/block', device, 'loop/backing_file');
    return existsSync(file) && readFileSync(file, 'utf8').includes(volume);
  });
}

async function volumes(): Promise<string[]> {
  const { namespace } = instances[0]!.ready;
  const all = await mesh.cluster.list<V1PersistentVolume & KubernetesObject>('PersistentVolume', undefined);
  return all.filter(({ spec }) => spec?.claimRef?.namespace === namespace).map(({ metadata }) => metadata!.name!);
}

it('ten are made while all that makes them is killed: all answer, none is doubled', async () => {
  const requests = Array.from({ length: count }, (_, i) => mesh.request(`ten-${i}`, { plan: 'trial' }));
  await Promise.all(requests.map((request) => mesh.publish(request)));
  const ready = () =>
    requests.filter((request) => mesh.said('instance.ready.v1', request.data.instanceId).length > 0).length;
  const atWork = () => mesh.heard.some((one) => one.key === 'instance.provisioning-progressed.v1');
  for (const [moment, come, struck] of [
    ['one to be at work', atWork, ['provisioner']],
    ['one to be Ready', () => ready() >= 1, ['kubelet', 'containerd', 'traefik']],
    ['some to be Ready', () => ready() >= 4, ['kubelet', 'containerd', 'traefik', 'kube-apiserver', 'provisioner']],
  ] as const) {
    await waitFor(moment, come, { timeoutMs: 60_000 });
    await strike(...struck);
  }
  instances = await Promise.all(
    requests.map(async ({ data }) => new LivingInstance(mesh, await mesh.ready(data.instanceId, 120_000))),
  );
  expect(instances.map(({ ready: { verified } }) => verified)).toEqual(Array(count).fill('http'));
  const pages = await Promise.all(
    instances.map((one) => waitFor(`a page of ${one.ready.host}`, async () => (await one.page()).status === 200)),
  );
  expect(pages).toEqual(Array(count).fill(true));
  expect(await waitFor('the ledger', () => ledger(mesh, requests))).toEqual(allReady(count));
  const pods = await Promise.all(instances.map((one) => one.pods()));
  expect(pods.map((some) => some.length)).toEqual(Array(count).fill(1));
  const made = await volumes();
  expect([made.length, made.filter((volume) => existsSync(volumeFile(volume))).length]).toEqual([count, count]);
});

it('the daemons of the node are killed: pods live on, and what they wrote is there when they come back', async () => {
  const [first, second] = instances as [LivingInstance, LivingInstance];
  const file = '/var/lib/odoo/kept';
  await first.execute('sh', '-c', `echo kept > ${file}`);
  const [before, untouched] = [await first.pod(), await second.pod()];
  await strike(...ofTheNode);
  await mesh.cluster.delete(
    { kind: 'Pod', name: before.metadata!.name!, namespace: first.ready.namespace },
    { uid: before.metadata!.uid! },
  );
  await waitFor(
    'another pod that is Ready',
    async () => {
      const [pod] = await first.pods();
      const isReady = pod?.status?.conditions?.some(({ type, status }) => type === 'Ready' && status === 'True');
      return isReady && pod!.metadata!.uid !== before.metadata!.uid;
    },
    { timeoutMs: 60_000 },
  );
  expect((await first.execute('cat', file)).stdout).toBe('kept\n');
  await waitFor('its page', async () => (await first.page()).status === 200);

  await waitFor('the other’s page', async () => (await second.page()).status === 200);
  const [was, is] = [untouched, await second.pod()].map((pod) => pod.status!.containerStatuses![0]!.containerID);
  expect(is).toBe(was);
});

describe('when PostgreSQL was restarted', () => {
  /** Roles whose scheduled actions are waited for on the server. */
  async function listening(): Promise<string[]> {
    const roles = instances.map(({ ready: { role } }) => role);
    const rows = await mesh.sql<{ usename: string }>(
      `SELECT DISTINCT usename FROM pg_stat_activity WHERE datname = 'postgres' AND usename = ANY($1)`,
      [roles],
    );
    return rows.map(({ usename }) => usename);
  }

  beforeAll(async () => {
    await waitFor('the scheduled actions of all', async () => (await listening()).length === count);
    await processes.stop('database');
    await processes.startAgain('database');
    await waitFor('PostgreSQL', async () => await mesh.sql('SELECT 1'));
    // Nobody comes back by himself.
    expect(await listening()).toEqual([]);
  });

  it('the pages come back by themselves', async () => {
    for (const one of instances) await waitFor('a page', async () => (await one.page()).status === 200);
  });

  it('an instance that is purged leaves nothing', async () => {
    const { ready } = instances.pop()!;
    const { namespace, footprintId, volumeClaim, database, role, host } = ready;
    const claim = await mesh.cluster.get<V1PersistentVolumeClaim & KubernetesObject>({
      kind: 'PersistentVolumeClaim',
      name: volumeClaim,
      namespace,
    });
    const volume = claim!.spec!.volumeName!;
    expect(devicesOf(volume)).toHaveLength(1);
    await mesh.purge(ready);

    const kinds = ['Deployment', 'Pod', 'Service', 'Secret', 'PersistentVolumeClaim', 'IngressRoute', 'ConfigMap'];
    const left = await Promise.all(
      kinds.map((kind) => mesh.cluster.list(kind, namespace, `${labelNames.footprint}=${footprintId}`)),
    );
    expect(left.flat()).toEqual([]);
    const named = `SELECT datname AS name FROM pg_database WHERE datname = $1
      UNION ALL SELECT rolname FROM pg_roles WHERE rolname = $2`;
    expect(await mesh.sql(named, [database, role])).toEqual([]);
    await waitFor('the volume to be gone', async () => !(await volumes()).includes(volume));
    expect(existsSync(volumeFile(volume))).toBe(false);
    // Nor is what was in it kept by a device that nobody sees.
    expect(devicesOf(volume)).toEqual([]);
    const nobody = await pageAt(`nobody.${host.split('.').slice(1).join('.')}`);
    await waitFor('its host to be nobody’s', async () => (await pageAt(host)).status === nobody.status);
    expect(await pageAt(host)).toEqual(nobody);
  });

  it('the scheduled actions of all run again, without anybody doing anything', async () => {
    await waitFor('all to wait for theirs', async () => (await listening()).length === instances.length, {
      timeoutMs: 150_000,
      intervalMs: 500,
    });
    for (const one of instances) await one.sql(`UPDATE ir_cron SET nextcall = '2020-01-01', lastcall = NULL`);
    for (const one of instances)
      await waitFor(`the actions of ${one.ready.host}`, async () => {
        // Again, because nobody hears it while his registry loads.
        await mesh.sql('NOTIFY cron_trigger', [], 'postgres');
        const unrun = await one.sql('SELECT FROM ir_cron WHERE lastcall IS NULL');
        return unrun.length === 0;
      });
  });
});
