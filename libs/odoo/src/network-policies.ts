import type { V1NetworkPolicy, V1NetworkPolicyEgressRule } from '@kubernetes/client-node';
import { filesApp, loadApp } from './backup-jobs.js';
import type { CellSpec } from './cell.js';
import { httpPort } from './odoo-conf.js';
import type { Wire } from './wire.js';

type EgressRule = Wire<V1NetworkPolicyEgressRule>;
type PolicySpec = NonNullable<Wire<V1NetworkPolicy>['spec']>;

/**
 * What may talk to what in a cell: nothing, but for these. A few policies by label, never one per instance, because
 * every node programs every policy. There is no rule from pod to pod, so tenants are apart without being named.
 */
export function networkPolicySpecs(spec: CellSpec): Readonly<Record<string, PolicySpec>> {
  const databases = spec.databases.flatMap(({ cidr, port }) => toNetworks([cidr], [port]));
  const { objectStores = [] } = spec;
  const everyPod = [
    dns,
    ...databases,
    ...toNetworks(spec.mailNetworks ?? [], [25, 465, 587]),
    outside(spec.clusterNetworks),
  ];
  return {
    'default-deny': { podSelector: {}, policyTypes: ['Ingress', 'Egress'] },
    odoo: {
      podSelector: { matchLabels: { app: 'odoo' } },
      policyTypes: ['Ingress', 'Egress'],
      ingress: [{ from: [inNamespace(spec.ingressNamespace)], ports: tcp([httpPort]) }],
      egress: everyPod,
    },
    // Upgrades: nobody calls them.
    job: { podSelector: { matchLabels: { app: 'odoo-job' } }, policyTypes: ['Ingress', 'Egress'], egress: everyPod },
    // They carry files between a volume and the object store.
    'backup-files': {
      podSelector: { matchLabels: { app: filesApp } },
      policyTypes: ['Ingress', 'Egress'],
      egress: [
        dns,
        ...objectStores.flatMap(({ cidr, port }) => toNetworks([cidr], [port])),
        ...(objectStores.length === 0 ? [{ ...outside(spec.clusterNetworks), ports: tcp([443]) }] : []),
      ],
    },
    // A restored Odoo that nobody has neutralised sends no mail and calls no one.
    'backup-load': {
      podSelector: { matchLabels: { app: loadApp } },
      policyTypes: ['Ingress', 'Egress'],
      egress: [dns, ...databases],
    },
  };
}

const inNamespace = (name: string) => ({
  namespaceSelector: { matchLabels: { 'kubernetes.io/metadata.name': name } },
});

const tcp = (ports: readonly number[]) => ports.map((port) => ({ protocol: 'TCP', port }));

const dns: EgressRule = { to: [inNamespace('kube-system')], ports: [{ protocol: 'UDP', port: 53 }, ...tcp([53])] };

/** No rule at all for no networks: a rule whose `to` is empty means everywhere. */
function toNetworks(networks: readonly string[], ports: readonly number[]): EgressRule[] {
  return networks.length === 0 ? [] : [{ to: networks.map((cidr) => ({ ipBlock: { cidr } })), ports: tcp(ports) }];
}

/** The internet: mail servers, payment providers, S3; the cluster's own networks are cut out, other tenants with them. */
function outside(clusterNetworks: readonly string[]): EgressRule {
  return { to: [{ ipBlock: { cidr: '0.0.0.0/0', except: clusterNetworks } }] };
}
