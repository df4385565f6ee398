import type {
  V1LabelSelector,
  V1NetworkPolicyPeer,
  V1NetworkPolicyPort,
  V1NetworkPolicySpec,
} from '@kubernetes/client-node';

/** What the rules are made of. */
export interface NetworkState {
  readonly pods: readonly PodOnNode[];
  /** Namespace → its labels. */
  readonly namespaces: ReadonlyMap<string, Labels>;
  readonly policies: readonly Policy[];
}

export type Labels = Readonly<Record<string, string>>;
/** A policy as it is in JSON: the client's types call `from` otherwise. */
export interface Policy {
  readonly namespace: string;
  readonly spec: Omit<V1NetworkPolicySpec, 'ingress'> & {
    readonly ingress?: readonly {
      readonly from?: readonly V1NetworkPolicyPeer[];
      readonly ports?: V1NetworkPolicyPort[];
    }[];
  };
}

export interface PodOnNode {
  readonly namespace: string;
  readonly labels: Labels;
  readonly address: string;
  /** Container ports by name. */
  readonly ports: Readonly<Record<string, number>>;
}

export interface Plan {
  /** Whatever comes from here and is no pod that we know is dropped: a new pod is closed until it has its rules. */
  readonly podNetwork: string;
  /** The pods' way out, which is no pod. */
  readonly gateway: string;
  /** `address` answers names on port 53 to all: the resolver is the node's, not a pod that a policy could choose. */
  readonly resolver: string;
}

const table = 'inet mesh_policies';

/**
 * The NetworkPolicies of a cluster with one node as a file for nft(8), which replaces what was there in one transaction.
 * As Kubernetes says: a pod that no policy chooses may do all; one that some choose may do what any of them allows, in
 * the directions that they are about; both ends have to allow a connection, and answers belong to it.
 */
export function networkRules({ pods, namespaces, policies }: NetworkState, plan: Plan): string {
  const chains: string[] = [];
  const into: string[] = [];
  const outOf: string[] = [];
  const chosenBy = (pod: PodOnNode, direction: 'Ingress' | 'Egress') =>
    policies.filter(
      ({ namespace, spec }) =>
        namespace === pod.namespace && matches(spec.podSelector, pod.labels) && directions(spec).includes(direction),
    );
  const peersOf = (policy: Policy, peers: readonly V1NetworkPolicyPeer[] | undefined, side: 'saddr' | 'daddr') =>
    peers?.length
      ? peers.flatMap((peer) => peerMatches(peer, policy.namespace, { pods, namespaces, policies }, side))
      : [''];

  for (const pod of pods) {
    const ingress = chosenBy(pod, 'Ingress');
    if (ingress.length > 0) {
      const allowed = ingress.flatMap((policy) =>
        (policy.spec.ingress ?? []).flatMap(({ from, ports }) =>
          combine(peersOf(policy, from, 'saddr'), portMatches(ports, [pod])),
        ),
      );
      chains.push(chain(`into_${name(pod)}`, allowed));
      into.push(`${pod.address} : jump into_${name(pod)}`);
    }
    const egress = chosenBy(pod, 'Egress');
    if (egress.length > 0) {
      const allowed = egress.flatMap((policy) =>
        (policy.spec.egress ?? []).flatMap(({ to, ports }) =>
          combine(peersOf(policy, to, 'daddr'), portMatches(ports, pods)),
        ),
      );
      chains.push(chain(`out_of_${name(pod)}`, allowed));
      outOf.push(`${pod.address} : jump out_of_${name(pod)}`);
    }
  }

  const known = [plan.gateway, ...pods.map(({ address }) => address)].sort();
  const checks = [
    'ct state established,related accept',
    ...['udp', 'tcp'].map((protocol) => `ip daddr ${plan.resolver} ${protocol} dport 53 accept`),
    `ip saddr ${plan.podNetwork} ip saddr != { ${known.join(', ')} } drop`,
    ...(outOf.length > 0 ? [`ip saddr vmap { ${outOf.sort().join(', ')} }`] : []),
  ];
  const forwarded = [
    `ip daddr ${plan.podNetwork} ip daddr != { ${known.join(', ')} } drop`,
    ...(into.length > 0 ? [`ip daddr vmap { ${into.sort().join(', ')} }`] : []),
  ];
  const hook = (place: string, rules: readonly string[]) =>
    block(`chain ${place}`, [`type filter hook ${place} priority 10; policy accept;`, ...rules]);
  return [
    `table ${table}`,
    `delete table ${table}`,
    block(`table ${table}`, [...chains.sort(), hook('forward', [...checks, ...forwarded]), hook('input', checks)]),
    '',
  ].join('\n');
}

function directions(spec: Policy['spec']): readonly string[] {
  return spec.policyTypes ?? ['Ingress', ...(spec.egress?.length ? ['Egress'] : [])];
}

/** As the API has it: no selector chooses nothing, an empty one everything. */
function matches(selector: V1LabelSelector | undefined, labels: Labels): boolean {
  if (!selector) return false;
  const equal = Object.entries(selector.matchLabels ?? {}).every(([key, value]) => labels[key] === value);
  return (
    equal &&
    (selector.matchExpressions ?? []).every(({ key, operator, values = [] }) => {
      const there = Object.hasOwn(labels, key);
      if (operator === 'Exists') return there;
      if (operator === 'DoesNotExist') return !there;
      if (operator === 'In') return there && values.includes(labels[key]!);
      return !(there && values.includes(labels[key]!));
    })
  );
}

/** Matches of nft for the addresses of one peer; none when it is nobody just now. */
function peerMatches(
  { ipBlock, namespaceSelector, podSelector }: V1NetworkPolicyPeer,
  home: string,
  { pods, namespaces }: NetworkState,
  side: 'saddr' | 'daddr',
): string[] {
  if (ipBlock) {
    if (ipBlock.cidr.includes(':')) return []; // pods have no IPv6 here
    const except = (ipBlock.except ?? []).filter((cidr) => !cidr.includes(':'));
    return [`ip ${side} ${ipBlock.cidr}${except.length ? ` ip ${side} != { ${except.join(', ')} }` : ''}`];
  }
  const chosen = pods.filter(
    ({ namespace, labels }) =>
      (namespaceSelector ? matches(namespaceSelector, namespaces.get(namespace) ?? {}) : namespace === home) &&
      (!podSelector || matches(podSelector, labels)),
  );
  return chosen.length
    ? [
        `ip ${side} { ${chosen
          .map(({ address }) => address)
          .sort()
          .join(', ')} }`,
      ]
    : [];
}

/** A port's name is that of a container's port, which may be another number in each of the pods it leads to. */
function portMatches(ports: readonly V1NetworkPolicyPort[] | undefined, to: readonly PodOnNode[]): string[] {
  if (!ports?.length) return [''];
  return ports.flatMap(({ port, endPort, protocol = 'TCP' }) => {
    const transport = protocol.toLowerCase();
    if (port === undefined) return [`meta l4proto ${transport}`];
    if (typeof port === 'number') return [`${transport} dport ${endPort ? `${port}-${endPort}` : port}`];
    return to
      .filter(({ ports: named }) => named[port] !== undefined)
      .map(({ address, ports: named }) => `ip daddr ${address} ${transport} dport ${named[port]}`);
  });
}

function combine(peers: readonly string[], ports: readonly string[]): string[] {
  return peers.flatMap((peer) => ports.map((port) => [peer, port].filter(Boolean).join(' ')));
}

function chain(title: string, allowed: readonly string[]): string {
  return block(`chain ${title}`, [...allowed.map((match) => `${match} return`.trimStart()), 'drop']);
}

function block(title: string, lines: readonly string[]): string {
  return [`${title} {`, ...lines.map((line) => line.replace(/^/gm, '  ')), '}'].join('\n');
}

const name = ({ address }: PodOnNode) => address.replaceAll('.', '_');
