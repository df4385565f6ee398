import { execFile } from 'node:child_process';
import type { V1NetworkPolicy, V1Pod } from '@kubernetes/client-node';
import { KubernetesClient, type KubernetesObject, Reflector } from '#kubernetes/index.js';
import { addresses, nodeName } from './addresses.js';
import { type Labels, networkRules, type PodOnNode, type Policy } from './network-rules.js';

/**
 * Keeps the rules of nftables as the cluster's NetworkPolicies say, in the network it runs in.
 *
 *     node network-policy-agent.js KUBECONFIG
 */
const [kubeconfig] = process.argv.slice(2);
if (!kubeconfig) throw new Error('it needs the path of a kubeconfig');
const client = new KubernetesClient({ kubeconfig });
const plan = { podNetwork: addresses.podNetwork, gateway: addresses.podGateway, resolver: addresses.node };

const pods = reflect<PodOnNode | undefined>('Pod', (object) => podOf(object as V1Pod & KubernetesObject));
const namespaces = reflect<Labels>('Namespace', ({ metadata }) => metadata?.labels ?? {});
const policies = reflect<Policy>('NetworkPolicy', (object) => ({
  namespace: object.metadata!.namespace!,
  spec: (object as V1NetworkPolicy & KubernetesObject).spec as Policy['spec'],
}));
let written = '';
let writing = false;
let again = false;

await Promise.all([pods, namespaces, policies].map(({ synced }) => synced));
await bringUpToDate();

function reflect<T>(kind: string, strip: (object: KubernetesObject) => T): Reflector<T> {
  const reflector = new Reflector<T>(client, {
    kind,
    strip,
    onChange: () => void bringUpToDate(),
    onTrouble: (what, error) => console.error(what, String(error)),
  });
  reflector.start();
  return reflector;
}

/** Only those on this node have an address in its network. */
function podOf({ metadata, spec, status }: V1Pod & KubernetesObject): PodOnNode | undefined {
  const ended = ['Succeeded', 'Failed'].includes(status?.phase ?? '');
  if (spec?.nodeName !== nodeName || spec.hostNetwork || !status?.podIP || ended) return undefined;
  const ports = spec.containers.flatMap((container) => container.ports ?? []);
  return {
    namespace: metadata!.namespace!,
    labels: metadata!.labels ?? {},
    address: status.podIP,
    ports: Object.fromEntries(ports.flatMap((port) => (port.name ? [[port.name, port.containerPort]] : []))),
  };
}

async function bringUpToDate(): Promise<void> {
  again = true;
  if (writing) return;
  writing = true;
  try {
    while (again) {
      again = false;
      const rules = networkRules(
        {
          pods: valuesOf(pods).filter((pod) => pod !== undefined),
          namespaces: new Map([...namespaces.keys()].map((key) => [key, namespaces.get(key)!])),
          policies: valuesOf(policies),
        },
        plan,
      );
      if (rules === written) continue;
      await write(rules);
      written = rules;
    }
  } catch (error) {
    console.error(String(error));
    setTimeout(() => void bringUpToDate(), 1_000);
  } finally {
    writing = false;
  }
}

function valuesOf<T>(reflector: Reflector<T>): T[] {
  return [...reflector.keys()].map((key) => reflector.get(key)!);
}

function write(rules: string): Promise<void> {
  return new Promise((resolve, reject) => {
    const nft = execFile('nft', ['-f', '-'], (error) => (error ? reject(error) : resolve()));
    nft.stdin!.end(rules);
  });
}
