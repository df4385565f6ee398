import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { ensureCached } from '../build-cache.js';
import { ClusterApi } from '../cluster-api.js';
import type { LocalConfig } from '../config.js';
import { coredns, nodeAgents, pause, traefik, volumePrograms } from '../go.js';
import type { State } from '../state.js';
import type { Progress } from '../terminal.js';
import { expectAlive } from '../wait.js';
import { startKubelet, startKubeProxy } from './agents.js';
import { type ImageFile, importImage, startContainerRuntime } from './container-runtime.js';
import { provideFilesWorker } from './files-image.js';
import { startNames } from './names.js';
import { killPods } from './namespaces.js';
import { packLayer, writeImage } from './oci-image.js';
import { provideOdoo } from './odoo-image.js';
import { startRouter } from './router.js';
import { startVolumes } from './volumes.js';

/** What has to be built for a real node. */
export function nodeBuilds(config: LocalConfig) {
  return [nodeAgents(config), pause(config), volumePrograms(config), coredns(config), traefik(config)];
}

/** Debian's packages for it. */
export const nodePackages = [
  { name: 'containerd', file: '/usr/bin/containerd' },
  { name: 'runc', file: '/usr/sbin/runc' },
  { name: 'containernetworking-plugins', file: '/usr/lib/cni/bridge' },
  { name: 'nftables', file: '/usr/sbin/nft' },
  { name: 'iptables', file: '/usr/sbin/iptables' },
  { name: 'conntrack', file: '/usr/sbin/conntrack' },
  { name: 'iproute2', file: '/sbin/ip' },
  { name: 'e2fsprogs', file: '/usr/sbin/mkfs.ext4' },
  { name: 'python3', file: '/usr/bin/python3' },
] as const;

/**
 * A node whose pods run, for a control plane of ours that runs in the same namespaces as the caller: containers, Services,
 * names, volumes with snapshots, NetworkPolicies and a router. Resolves to the router's port when all of it works.
 */
export async function startRealNode(
  config: LocalConfig,
  state: State,
  kubeconfig: string,
  progress: Progress,
): Promise<number> {
  const built = async (entry: ReturnType<typeof pause>) => await ensureCached(config.cache, entry, progress);
  const agents = await built(nodeAgents(config));
  progress('container runtime');
  await startContainerRuntime(state, await sandboxImage(state, await built(pause(config))));
  await importImage(state, await provideOdoo(config, state, progress));
  await importImage(state, await provideFilesWorker(config, state, progress));
  const api = await ClusterApi.open(kubeconfig);
  try {
    progress('kubelet');
    await startKubelet(state, agents, kubeletKubeconfig(state, kubeconfig), api);
    progress('services, names, volumes, policies, router');
    const [, , , , port] = await Promise.all([
      startKubeProxy(state, agents, kubeconfig),
      startNames(state, await built(coredns(config)), kubeconfig),
      startVolumes(state, await built(volumePrograms(config)), kubeconfig, api),
      startNetworkPolicies(config, state, kubeconfig),
      startRouter(state, await built(traefik(config)), kubeconfig),
    ]);
    return port;
  } finally {
    await api.close();
  }
}

/** In the order in which they are to go, containers after what drives them. */
const programs = [
  'traefik',
  'network-policies',
  'csi-snapshotter',
  'snapshot-controller',
  'csi-provisioner',
  'coredns',
  'kube-proxy',
  'kubelet',
];

/** Names of all processes of a real node. */
export const nodeProcesses = [...programs, 'volume-driver', 'containerd', 'node-holder'];

/** Containers are killed, not asked: whoever wants an orderly end of a pod asks the cluster before. */
export async function stopRealNode(state: State): Promise<void> {
  const { processes } = state;
  await Promise.all(programs.map((name) => processes.stop(name, 5_000)));
  await killPods(state);
  await Promise.all(['volume-driver', 'containerd'].map((name) => processes.stop(name, 10_000)));
}

async function startNetworkPolicies(config: LocalConfig, state: State, kubeconfig: string): Promise<void> {
  const { processes } = state;
  await processes.start({
    name: 'network-policies',
    command: process.execPath,
    args: ['--enable-source-maps', join(config.root, 'dist/deploy/local/src/node/network-policy-agent.js'), kubeconfig],
    env: { PATH: '/usr/sbin:/usr/bin:/sbin:/bin' },
    cwd: config.root,
  });
  expectAlive(processes, 'network-policies');
}

async function sandboxImage(state: State, folder: string): Promise<ImageFile> {
  const name = 'registry.local/pause:1';
  const file = state.path('node', 'images', 'pause.tar');
  const layer = state.path('node', 'pause-layer.tar');
  await packLayer(folder, layer);
  await writeImage(file, name, [layer], { Entrypoint: ['/pause'] });
  return { name, file };
}

/** The node's own rights, by certificate. */
function kubeletKubeconfig(state: State, adminKubeconfig: string): string {
  const file = state.path('node', 'kubelet.kubeconfig');
  const server = /server: (\S+)/.exec(readFileSync(adminKubeconfig, 'utf8'))?.[1];
  const pki = (name: string) => state.path('cluster', 'pki', name);
  writeFileSync(
    file,
    `apiVersion: v1
kind: Config
current-context: node
clusters:
  - name: mesh-local
    cluster:
      server: ${server}
      certificate-authority: ${pki('ca.crt')}
users:
  - name: node
    user:
      client-certificate: ${pki('kubelet.crt')}
      client-key: ${pki('kubelet.key')}
contexts:
  - name: node
    context:
      cluster: mesh-local
      user: node
`,
    { mode: 0o600 },
  );
  return file;
}
