import { BlockList } from 'node:net';
import { describe, expect, it, test } from '@jest/globals';
import { networkRules, type PodOnNode, type Policy } from './network-rules.js';

const plan = { podNetwork: '10.244.0.0/24', gateway: '10.244.0.1', resolver: '10.99.0.1' };

const pod = (name: string, address: string, more: Partial<PodOnNode> = {}): PodOnNode => ({
  namespace: 'cell',
  labels: { name },
  address,
  ports: { http: 8069 },
  ...more,
});

const a = pod('a', '10.244.0.2');
const b = pod('b', '10.244.0.3');
/** The same labels as `a`, but at home elsewhere, and its port `http` is another one. */
const abroad = pod('a', '10.244.0.4', { namespace: 'abroad', ports: { http: 9000 } });
const pods = [a, b, abroad];
const namespaces = new Map([
  ['cell', { team: 'mesh' }],
  ['abroad', { team: 'others' }],
]);
const node = '10.99.0.1';
const internet = '198.51.100.7';
const unknown = '10.244.0.99';

interface Packet {
  readonly from: string;
  readonly to: string;
  readonly port: number;
  readonly protocol?: 'tcp' | 'udp';
  readonly answer?: boolean;
}

/** What the cluster's policies, as nft would read our file, do with the first packet of a connection. */
function passes(policies: readonly Policy[], packet: Packet): boolean {
  const file = networkRules({ pods, namespaces, policies }, plan);
  return new Ruleset(file).accepts(packet.to === node ? 'input' : 'forward', packet);
}

const policy = (spec: Policy['spec'], namespace = 'cell'): Policy => ({ namespace, spec });
const everything = {};
const only = (name: string) => ({ matchLabels: { name } });
const closed = policy({ podSelector: everything, policyTypes: ['Ingress', 'Egress'] });
const tcp = (port: number | string, endPort?: number) => ({ protocol: 'TCP', port, ...(endPort && { endPort }) });

const fromAtoB = { from: a.address, to: b.address, port: 8069 };

describe('whom a policy is about', () => {
  test.each<[string, readonly Policy[], boolean]>([
    ['without any policy everybody may talk', [], true],
    ['an empty selector is every pod of its namespace', [closed], false],
    ['a policy is not about the pods of another namespace', [policy(closed.spec, 'abroad')], true],
    ['labels that differ choose nobody', [policy({ ...closed.spec, podSelector: only('c') })], true],
    [
      'an expression chooses by value',
      [
        policy({
          ...closed.spec,
          podSelector: { matchExpressions: [{ key: 'name', operator: 'In', values: ['b', 'c'] }] },
        }),
      ],
      false,
    ],
    [
      'an expression chooses by absence of a label',
      [policy({ ...closed.spec, podSelector: { matchExpressions: [{ key: 'name', operator: 'DoesNotExist' }] } })],
      true,
    ],
    [
      'what is not among the values may also be absent',
      [
        policy({
          ...closed.spec,
          podSelector: { matchExpressions: [{ key: 'tier', operator: 'NotIn', values: ['front'] }] },
        }),
      ],
      false,
    ],
  ])('%s', (_, policies, expected) => {
    expect(passes(policies, fromAtoB)).toBe(expected);
  });
});

describe('the directions of a policy that does not say them', () => {
  const out = { from: a.address, to: internet, port: 443 };
  const into = { from: internet, to: a.address, port: 8069 };
  test.each<[string, Policy['spec'], { into: boolean; out: boolean }]>([
    ['into the pod always', { podSelector: everything }, { into: false, out: true }],
    ['out of it when there are rules for that', { podSelector: everything, egress: [{}] }, { into: false, out: true }],
    [
      'and then only what they allow',
      { podSelector: everything, egress: [{ ports: [tcp(80)] }] },
      { into: false, out: false },
    ],
    ['not for an empty list of them', { podSelector: everything, egress: [] }, { into: false, out: true }],
    ['said ones count alone', { podSelector: everything, policyTypes: ['Egress'] }, { into: true, out: false }],
  ])('%s', (_, spec, expected) => {
    expect({ into: passes([policy(spec)], into), out: passes([policy(spec)], out) }).toEqual(expected);
  });
});

describe('what a rule allows', () => {
  const into = (rules: Policy['spec']['ingress']) =>
    policy({ podSelector: only('b'), policyTypes: ['Ingress'], ingress: rules });
  const outOf = (rules: Policy['spec']['egress']) =>
    policy({ podSelector: only('a'), policyTypes: ['Egress'], egress: rules });
  const fromAbroad = { from: abroad.address, to: b.address, port: 8069 };

  test.each<[string, Policy, Packet, boolean]>([
    ['an empty rule is everybody at every port', into([{}]), fromAbroad, true],
    ['an empty list of peers is everybody', into([{ from: [] }]), fromAbroad, true],
    ['an empty list of ports is every port', into([{ ports: [] }]), { ...fromAbroad, port: 1 }, true],
    ['pods by label are those of the same namespace', into([{ from: [{ podSelector: only('a') }] }]), fromAtoB, true],
    ['and of no other', into([{ from: [{ podSelector: only('a') }] }]), fromAbroad, false],
    [
      'a namespace by label is all its pods',
      into([{ from: [{ namespaceSelector: { matchLabels: { team: 'others' } } }] }]),
      fromAbroad,
      true,
    ],
    ['an empty namespace selector is all of them', into([{ from: [{ namespaceSelector: {} }] }]), fromAbroad, true],
    [
      'but only pods: the outside is in no namespace',
      into([{ from: [{ namespaceSelector: {} }] }]),
      { ...fromAbroad, from: internet },
      false,
    ],
    [
      'both selectors of one peer have to fit',
      into([{ from: [{ namespaceSelector: {}, podSelector: only('c') }] }]),
      fromAbroad,
      false,
    ],
    [
      'of two peers either',
      into([{ from: [{ podSelector: only('c') }, { namespaceSelector: {} }] }]),
      fromAbroad,
      true,
    ],
    ['peers and ports have to fit together', into([{ from: [{}], ports: [tcp(1)] }]), fromAtoB, false],
    ['a peer that nobody is just now allows nobody', into([{ from: [{ podSelector: only('z') }] }]), fromAtoB, false],
    ['a range of ports', into([{ ports: [tcp(8000, 8100)] }]), fromAtoB, true],
    ['has an end', into([{ ports: [tcp(8000, 8068)] }]), fromAtoB, false],
    ['a protocol without a port is all its ports', into([{ ports: [{ protocol: 'TCP' }] }]), fromAtoB, true],
    ['and no other protocol', into([{ ports: [{ protocol: 'TCP' }] }]), { ...fromAtoB, protocol: 'udp' }, false],
    ['a port is one of TCP unless said', into([{ ports: [{ port: 8069 }] }]), { ...fromAtoB, protocol: 'udp' }, false],
    ['a name is the port that the container calls so', into([{ ports: [tcp('http')] }]), fromAtoB, true],
    ['and no other port', into([{ ports: [tcp('http')] }]), { ...fromAtoB, port: 9000 }, false],
    [
      'on the way out a name is a port of whom it leads to',
      outOf([{ ports: [tcp('http')] }]),
      { from: a.address, to: abroad.address, port: 9000 },
      true,
    ],
    [
      'not one of somebody else',
      outOf([{ ports: [tcp('http')] }]),
      { from: a.address, to: abroad.address, port: 8069 },
      false,
    ],
    ['a name that no container has is no port', into([{ ports: [tcp('smtp')] }]), fromAtoB, false],
    [
      'networks',
      outOf([{ to: [{ ipBlock: { cidr: '198.51.100.0/24' } }] }]),
      { from: a.address, to: internet, port: 1 },
      true,
    ],
    [
      'end',
      outOf([{ to: [{ ipBlock: { cidr: '198.51.99.0/24' } }] }]),
      { from: a.address, to: internet, port: 1 },
      false,
    ],
    [
      'except what is cut out of them',
      outOf([{ to: [{ ipBlock: { cidr: '0.0.0.0/0', except: ['10.0.0.0/8', '198.51.100.0/24'] } }] }]),
      { from: a.address, to: internet, port: 1 },
      false,
    ],
    [
      'and the rest of them stays',
      outOf([{ to: [{ ipBlock: { cidr: '0.0.0.0/0', except: ['10.0.0.0/8'] } }] }]),
      { from: a.address, to: internet, port: 1 },
      true,
    ],
    [
      'a network of IPv6 says nothing about IPv4',
      outOf([{ to: [{ ipBlock: { cidr: '::/0' } }] }]),
      { from: a.address, to: internet, port: 1 },
      false,
    ],
  ])('%s', (_, one, packet, expected) => {
    expect(passes([one], packet)).toBe(expected);
  });
});

describe('together', () => {
  const out = policy({ podSelector: only('a'), policyTypes: ['Egress'], egress: [{ ports: [tcp(8069)] }] });
  const into = policy({ podSelector: only('b'), policyTypes: ['Ingress'], ingress: [{ ports: [tcp(8069)] }] });

  test.each<[string, readonly Policy[], boolean]>([
    ['both ends allow it', [closed, out, into], true],
    ['only its beginning allows it', [closed, out], false],
    ['only its end allows it', [closed, into], false],
    ['of several policies one is enough', [out, policy({ ...out.spec, egress: [{ ports: [tcp(1)] }] })], true],
  ])('a connection when %s', (_, policies, expected) => {
    expect(passes(policies, fromAtoB)).toBe(expected);
  });

  it('answers belong to their connection', () => {
    expect(passes([closed], { ...fromAtoB, answer: true })).toBe(true);
  });
});

describe('whatever the policies say', () => {
  test.each<[string, Packet, boolean]>([
    ['a pod that is not known yet reaches nobody', { from: unknown, to: b.address, port: 8069 }, false],
    ['not the node either', { from: unknown, to: node, port: 8069 }, false],
    ['nor is it reached', { from: b.address, to: unknown, port: 8069 }, false],
    ['nor from outside', { from: internet, to: unknown, port: 8069 }, false],
    ['the gateway is no pod', { from: plan.gateway, to: b.address, port: 8069 }, true],
  ])('%s', (_, packet, expected) => {
    expect(passes([], packet)).toBe(expected);
  });

  test.each(['udp', 'tcp'] as const)('names are answered by %s, and nothing else of the node is', (protocol) => {
    const ask = { from: a.address, to: node, port: 53, protocol };
    expect(passes([closed], ask)).toBe(true);
    expect(passes([closed], { ...ask, port: 54 })).toBe(false);
  });
});

it('the same state makes the same file, in whatever order it is seen', () => {
  const policies = [closed, policy({ podSelector: only('a'), ingress: [{ from: [{ namespaceSelector: {} }] }] })];
  const seen = networkRules({ pods, namespaces, policies }, plan);
  expect(networkRules({ pods: pods.toReversed(), namespaces, policies }, plan)).toBe(seen);
});

/** Reads what we write of nft's language, as nft(8) has it. Throws on all else, so that nothing is passed over. */
class Ruleset {
  private readonly chains = new Map<string, string[]>();

  constructor(file: string) {
    let chain: string[] = [];
    for (const line of file.split('\n').map((one) => one.trim())) {
      const title = /^chain (\w+) \{$/.exec(line)?.[1];
      if (title) {
        if (this.chains.has(title)) throw new Error(`two chains ${title}`);
        chain = [];
        this.chains.set(title, chain);
      } else if (line && line !== '}' && !/^(type|table|delete table) /.test(line)) chain.push(line);
    }
  }

  accepts(hook: string, packet: Packet): boolean {
    return this.verdict(hook, packet) !== 'drop';
  }

  private verdict(chain: string, packet: Packet): 'accept' | 'drop' | undefined {
    for (const rule of this.chains.get(chain)!) {
      let rest = rule;
      let fits = true;
      for (;;) {
        const match = matchers.find(([form]) => form.test(rest));
        if (!match) break;
        const [form, holds] = match;
        const found = form.exec(rest)!;
        fits &&= holds(packet, found.slice(1));
        rest = rest.slice(found[0].length).trim();
      }
      const map = /^ip ([sd])addr vmap \{ (.*) \}$/.exec(rest);
      if (map) {
        const entries = map[2]!.split(', ').map((entry) => entry.split(' : jump ') as [string, string]);
        const target = new Map(entries).get(map[1] === 's' ? packet.from : packet.to);
        const verdict = fits && target ? this.verdict(target, packet) : undefined;
        if (verdict) return verdict;
      } else if (rest === 'accept' || rest === 'drop') {
        if (fits) return rest;
      } else if (rest === 'return') {
        if (fits) return undefined;
      } else throw new Error(`not understood: ${rest}`);
    }
    return undefined;
  }
}

const matchers: readonly [RegExp, (packet: Packet, found: string[]) => boolean][] = [
  [/^ct state established,related/, ({ answer }) => answer === true],
  [/^meta l4proto (\w+)/, ({ protocol = 'tcp' }, [wanted]) => protocol === wanted],
  [
    /^(tcp|udp) dport (\d+)(?:-(\d+))?/,
    ({ protocol = 'tcp', port }, [wanted, from, to = from]) =>
      protocol === wanted && port >= Number(from) && port <= Number(to),
  ],
  [
    /^ip ([sd])addr (!= )?(?:\{ ([^}]*) \}|([\d.]+(?:\/\d+)?))/,
    ({ from, to }, [side, not, set, one]) => isIn(set ?? one!, side === 's' ? from : to) !== (not !== undefined),
  ],
];

function isIn(set: string, address: string): boolean {
  const list = new BlockList();
  for (const one of set.split(', ')) {
    const [network, bits = '32'] = one.split('/') as [string, string?];
    list.addSubnet(network, Number(bits));
  }
  return list.check(address);
}
