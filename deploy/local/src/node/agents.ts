import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { ClusterApi } from '../cluster-api.js';
import type { State } from '../state.js';
import { expectAlive, waitForServer, waitUntil } from '../wait.js';
import { addresses, nodeName } from './addresses.js';
import { socketOf } from './container-runtime.js';
import { cgroupOf } from './namespaces.js';

const environment = { PATH: '/usr/sbin:/usr/bin:/sbin:/bin' };

/** The kubelet. Resolves when the node is Ready. */
export async function startKubelet(state: State, bin: string, kubeconfig: string, api: ClusterApi): Promise<void> {
  const folder = state.path('node');
  const file = join(folder, 'kubelet.json');
  mkdirSync(folder, { recursive: true });
  writeFileSync(file, JSON.stringify(kubeletConf(state), null, 2));
  await state.processes.start({
    name: 'kubelet',
    command: join(bin, 'kubelet'),
    args: [
      `--config=${file}`,
      `--kubeconfig=${kubeconfig}`,
      `--root-dir=${join(folder, 'kubelet')}`,
      `--cert-dir=${join(folder, 'kubelet', 'pki')}`,
      `--node-ip=${addresses.node}`,
      `--hostname-override=${nodeName}`,
      '--node-labels=mesh.odoo/node=real',
    ],
    env: environment,
    cwd: folder,
  });
  await waitUntil('the real node is not Ready', () => isReady(api), {
    withinMs: 60_000,
    stillHopeful: () => expectAlive(state.processes, 'kubelet'),
  });
}

/** The addresses of Services, as rules of nftables. Resolves when they are written. */
export async function startKubeProxy(state: State, bin: string, kubeconfig: string): Promise<void> {
  const folder = state.path('node');
  const file = join(folder, 'kube-proxy.json');
  // It ends when its file is written again while it runs, and leaves the rules of that moment.
  if (!state.processes.alive('kube-proxy')) writeFileSync(file, JSON.stringify(kubeProxyConf(kubeconfig), null, 2));
  await state.processes.start({
    name: 'kube-proxy',
    command: join(bin, 'kube-proxy'),
    args: [`--config=${file}`],
    env: environment,
    cwd: folder,
  });
  const health = 'http://127.0.0.1:10256/healthz';
  await waitForServer(state.processes, 'kube-proxy', 30_000, async () => (await fetch(health)).ok);
}

interface Node {
  readonly status?: { readonly conditions?: readonly { type: string; status: string; lastHeartbeatTime: string }[] };
}

async function isReady(api: ClusterApi): Promise<boolean> {
  const node = await api.get<Node>(`/api/v1/nodes/${nodeName}`);
  const ready = node.status?.conditions?.find(({ type }) => type === 'Ready');
  // A node that was there before says what its last life said.
  return ready?.status === 'True' && Date.now() - Date.parse(ready.lastHeartbeatTime) < 60_000;
}

function kubeletConf(state: State) {
  const socket = `unix://${socketOf(state)}`;
  const pki = (name: string) => state.path('cluster', 'pki', name);
  return {
    apiVersion: 'kubelet.config.k8s.io/v1beta1',
    kind: 'KubeletConfiguration',
    failCgroupV1: false,
    cgroupDriver: 'cgroupfs',
    cgroupRoot: `/${cgroupOf(state)}`,
    cgroupsPerQOS: true,
    enforceNodeAllocatable: ['pods'],
    featureGates: { KubeletInUserNamespace: true },
    failSwapOn: false,
    containerRuntimeEndpoint: socket,
    imageServiceEndpoint: socket,
    authentication: {
      anonymous: { enabled: false },
      webhook: { enabled: true },
      x509: { clientCAFile: pki('ca.crt') },
    },
    authorization: { mode: 'Webhook' },
    clusterDNS: [addresses.node],
    clusterDomain: 'cluster.local',
    resolvConf: '/etc/resolv.conf',
    tlsCertFile: pki('kubelet.crt'),
    tlsPrivateKeyFile: pki('kubelet.key'),
    // Of a disk and a memory that are shared with everything else: what is full is full for the machine, not for pods.
    evictionHard: {
      'memory.available': '50Mi',
      'nodefs.available': '1%',
      'nodefs.inodesFree': '1%',
      'imagefs.available': '1%',
    },
    imageGCHighThresholdPercent: 100,
    imageMinimumGCAge: '24h',
    makeIPTablesUtilChains: false,
    volumePluginDir: state.path('node', 'volume-plugins'),
    podLogsDir: state.path('node', 'pod-logs'),
    maxPods: 110,
    // Of one pod; else one that makes processes without end takes those of all.
    podPidsLimit: 512,
    // Ten pods start at once on a laptop: the defaults (5 a second) hold them up.
    registryPullQPS: 0,
    kubeAPIQPS: 100,
    kubeAPIBurst: 200,
    serializeImagePulls: false,
    systemReserved: { memory: '2Gi' },
  };
}

function kubeProxyConf(kubeconfig: string) {
  return {
    apiVersion: 'kubeproxy.config.k8s.io/v1alpha1',
    kind: 'KubeProxyConfiguration',
    mode: 'nftables',
    hostnameOverride: nodeName,
    clusterCIDR: addresses.podNetwork,
    clientConnection: { kubeconfig },
    conntrack: { maxPerCore: 0, min: 0, tcpEstablishedTimeout: '0s', tcpCloseWaitTimeout: '0s' },
    nodePortAddresses: [`${addresses.node}/32`],
    metricsBindAddress: '127.0.0.1:10249',
    healthzBindAddress: '127.0.0.1:10256',
  };
}
