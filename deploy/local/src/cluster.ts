import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { ClusterApi } from './cluster-api.js';
import { applyDefinitions, applySimulatedNodes, applyStorageClass, forgetLeases } from './cluster-objects.js';
import { addresses } from './node/addresses.js';
import { ensurePki } from './pki.js';
import type { ProcessSpec } from './processes.js';
import type { State } from './state.js';
import type { Progress } from './terminal.js';
import { expectAlive, waitForServer } from './wait.js';

/** The built programs and files of a cluster. */
export interface ClusterTools {
  /** The folder of etcd, kube-apiserver, kube-controller-manager and kube-scheduler. */
  readonly bin: string;
  readonly kwok: string;
  /** Our stages and StorageClass, `deploy/local/kwok`. */
  readonly kwokFolder: string;
  /** CustomResourceDefinition files of Traefik and of volume snapshots. */
  readonly definitions: readonly string[];
}

export interface ClusterOptions {
  readonly nodes: number;
  /** False: etcd skips fsync. */
  readonly durable: boolean;
  /** A real node joins: pods may have to reach the API server, and no pod may come to a simulated node by itself. */
  readonly realNode: boolean;
}

/** In the order of their start; they are stopped in the reverse one. */
const programs = ['etcd', 'kube-apiserver', 'kube-controller-manager', 'kube-scheduler', 'kwok'] as const;

/**
 * A real Kubernetes control plane with simulated nodes, all on the loopback. Resolves to the path of the
 * administrator's kubeconfig when nodes are Ready, the StorageClass stands and the custom resources are served.
 */
export async function startCluster(
  state: State,
  tools: ClusterTools,
  options: ClusterOptions,
  progress: Progress,
): Promise<string> {
  const { processes } = state;
  const kubeconfig = state.path('cluster', 'kubeconfig');
  mkdirSync(state.path('cluster'), { recursive: true, mode: 0o700 });

  if (!processes.alive('etcd')) {
    // An apiserver that outlived its etcd answers from its caches beside the next one.
    await stopCluster(state);
    progress('etcd');
    await processes.start(etcd(state, tools, options, await state.port('etcd'), await state.port('etcd-peer')));
  }
  const etcdHealth = `http://127.0.0.1:${state.keptPort('etcd')}/health`;
  await waitForServer(processes, 'etcd', 60_000, async () => (await fetch(etcdHealth)).ok);

  if (!processes.alive('kube-apiserver')) {
    progress('kube-apiserver');
    const port = await state.port('kube-apiserver');
    await ensurePki(state.path('cluster', 'pki'));
    writePrivate(
      state.path('cluster', 'tokens.csv'),
      `${state.secret('cluster')},mesh-admin,mesh-admin,system:masters\n`,
    );
    writePrivate(kubeconfig, kubeconfigFor(state, port));
    await processes.start(apiserver(state, tools, options, port));
  }
  const api = await ClusterApi.open(kubeconfig);
  try {
    await waitForServer(processes, 'kube-apiserver', 90_000, () => api.ready());
    if (!processes.alive('kwok')) await forgetLeases(api, options.nodes);
    for (const program of [controllerManager, scheduler]) await processes.start(program(state, tools, kubeconfig));
    progress('custom resources');
    await applyDefinitions(api, tools.definitions);
    await processes.start(kwok(state, tools, options, kubeconfig)); // it wants to know what it watches
    await applyStorageClass(api, tools.kwokFolder);
    progress('nodes');
    await applySimulatedNodes(api, { count: options.nodes, tainted: options.realNode }, () => {
      for (const name of programs) expectAlive(processes, name);
    });
  } finally {
    await api.close();
  }
  return kubeconfig;
}

export async function stopCluster(state: State): Promise<void> {
  for (const name of [...programs].reverse()) await state.processes.stop(name);
}

const environment = { PATH: '/usr/bin:/bin' };

function etcd(state: State, tools: ClusterTools, options: ClusterOptions, port: number, peerPort: number): ProcessSpec {
  const client = `http://127.0.0.1:${port}`;
  const peer = `http://127.0.0.1:${peerPort}`;
  return {
    name: 'etcd',
    command: join(tools.bin, 'etcd'),
    args: [
      `--data-dir=${state.path('cluster', 'etcd')}`,
      `--listen-client-urls=${client}`,
      `--advertise-client-urls=${client}`,
      `--listen-peer-urls=${peer}`,
      `--initial-advertise-peer-urls=${peer}`,
      `--initial-cluster=default=${peer}`,
      '--quota-backend-bytes=8589934592', // 10,000 instances with their history outgrow the default of 2 GiB
      '--log-level=warn',
      ...(options.durable ? [] : ['--unsafe-no-fsync']),
    ],
    env: environment,
    cwd: state.path('cluster'),
  };
}

function apiserver(state: State, tools: ClusterTools, { realNode }: ClusterOptions, port: number): ProcessSpec {
  const pki = (name: string) => state.path('cluster', 'pki', name);
  return {
    name: 'kube-apiserver',
    command: join(tools.bin, 'kube-apiserver'),
    args: [
      `--etcd-servers=http://127.0.0.1:${state.keptPort('etcd')}`,
      ...(realNode
        ? [
            `--advertise-address=${addresses.node}`,
            '--kubelet-preferred-address-types=InternalIP',
            `--kubelet-client-certificate=${pki('apiserver-kubelet.crt')}`,
            `--kubelet-client-key=${pki('apiserver-kubelet.key')}`,
          ]
        : [
            '--bind-address=127.0.0.1',
            '--endpoint-reconciler-type=none', // a loopback address may not stand in the Endpoints of `kubernetes`
          ]),
      `--secure-port=${port}`,
      `--tls-cert-file=${pki('apiserver.crt')}`,
      `--tls-private-key-file=${pki('apiserver.key')}`,
      `--client-ca-file=${pki('ca.crt')}`,
      `--token-auth-file=${state.path('cluster', 'tokens.csv')}`,
      '--authorization-mode=Node,RBAC',
      '--enable-admission-plugins=NodeRestriction',
      `--service-cluster-ip-range=${addresses.serviceNetwork}`,
      '--service-account-issuer=https://kubernetes.default.svc',
      `--service-account-key-file=${pki('service-accounts.pub')}`,
      `--service-account-signing-key-file=${pki('service-accounts.key')}`,
      '--allow-privileged=true',
      '--max-requests-inflight=800',
      '--max-mutating-requests-inflight=400',
    ],
    env: environment,
    cwd: state.path('cluster'),
  };
}

function controllerManager(state: State, tools: ClusterTools, kubeconfig: string): ProcessSpec {
  return {
    name: 'kube-controller-manager',
    command: join(tools.bin, 'kube-controller-manager'),
    args: [
      `--kubeconfig=${kubeconfig}`,
      `--root-ca-file=${state.path('cluster', 'pki', 'ca.crt')}`,
      `--service-account-private-key-file=${state.path('cluster', 'pki', 'service-accounts.key')}`,
      `--flex-volume-plugin-dir=${state.path('cluster', 'flexvolume')}`, // the default would be made below /usr
      '--leader-elect=false',
      '--secure-port=0',
      // The defaults (20 calls a second) are made for a cluster where nobody creates instances by the hundred.
      '--kube-api-qps=300',
      '--kube-api-burst=600',
      '--concurrent-deployment-syncs=20',
      '--concurrent-replicaset-syncs=20',
    ],
    env: environment,
    cwd: state.path('cluster'),
  };
}

function scheduler(state: State, tools: ClusterTools, kubeconfig: string): ProcessSpec {
  return {
    name: 'kube-scheduler',
    command: join(tools.bin, 'kube-scheduler'),
    args: [
      `--kubeconfig=${kubeconfig}`,
      '--leader-elect=false',
      '--secure-port=0',
      '--kube-api-qps=300',
      '--kube-api-burst=600',
    ],
    env: environment,
    cwd: state.path('cluster'),
  };
}

function kwok(state: State, tools: ClusterTools, { realNode }: ClusterOptions, kubeconfig: string): ProcessSpec {
  const simulated = ['options.yaml', 'nodes.yaml', 'pods.yaml', 'volumes.yaml'];
  const files = realNode ? simulated : [...simulated, 'snapshots.yaml'];
  return {
    name: 'kwok',
    command: tools.kwok,
    args: [
      `--kubeconfig=${kubeconfig}`,
      '--manage-all-nodes=false', // a real node may join
      '--manage-nodes-with-annotation-selector=kwok.x-k8s.io/node=fake',
      '--node-lease-duration-seconds=40',
      ...files.map((file) => `--config=${join(tools.kwokFolder, file)}`),
    ],
    env: { ...environment, HOME: state.path('cluster') },
    cwd: state.path('cluster'),
  };
}

function kubeconfigFor(state: State, port: number): string {
  const ca = readFileSync(state.path('cluster', 'pki', 'ca.crt')).toString('base64');
  return `apiVersion: v1
kind: Config
current-context: mesh-local
clusters:
  - name: mesh-local
    cluster:
      server: https://127.0.0.1:${port}
      certificate-authority-data: ${ca}
users:
  - name: mesh-admin
    user:
      token: ${state.secret('cluster')}
contexts:
  - name: mesh-local
    context:
      cluster: mesh-local
      user: mesh-admin
`;
}

function writePrivate(file: string, content: string): void {
  writeFileSync(file, content, { mode: 0o600 });
}
