import type { V1ObjectMeta } from '@kubernetes/client-node';
import type { Wire } from './wire.js';

/** `traefik.io/v1alpha1`: the older group is gone from Traefik 3. */
export interface IngressRoute {
  readonly apiVersion: 'traefik.io/v1alpha1';
  readonly kind: 'IngressRoute';
  readonly metadata: Wire<V1ObjectMeta>;
  readonly spec: { readonly entryPoints: readonly string[]; readonly routes: readonly Route[] };
}

export interface Route {
  readonly kind: 'Rule';
  readonly match: string;
  readonly priority: number;
  readonly middlewares?: readonly { readonly name: string }[];
  readonly services: readonly { readonly name: string; readonly port: string }[];
}

export interface Middleware {
  readonly apiVersion: 'traefik.io/v1alpha1';
  readonly kind: 'Middleware';
  readonly metadata: Wire<V1ObjectMeta>;
  readonly spec: { readonly ipAllowList: { readonly sourceRange: readonly string[] } };
}

/** Middleware of every cell that answers 403 to everybody. */
export const blockedMiddleware = 'blocked';

/** What is nobody's business from outside: the database manager and the RPC that knows no dbfilter. */
const blockedPaths = ['/web/database', '/jsonrpc', '/xmlrpc'];

/**
 * The three rules of an instance (facts: odoo-in-a-pod §6). The higher priority wins. With workers = 0 the websocket is
 * on the same port; it has its own rule because it gets other middlewares than pages.
 * Throws on a host that is not a DNS name.
 */
export function routesOf(host: string, service: string): readonly Route[] {
  const toHost = `Host(\`${checkedHost(host)}\`)`;
  const toPath = (paths: readonly string[]) => paths.map((path) => `PathPrefix(\`${path}\`)`).join(' || ');
  const services = [{ name: service, port: 'http' }];
  return [
    { kind: 'Rule', match: toHost, priority: 10, services },
    { kind: 'Rule', match: `${toHost} && ${toPath(['/websocket'])}`, priority: 20, services },
    {
      kind: 'Rule',
      match: `${toHost} && (${toPath(blockedPaths)})`,
      priority: 30,
      middlewares: [{ name: blockedMiddleware }],
      services,
    },
  ];
}

/** The host stands inside a rule's quotes: only what a DNS name can hold gets there. */
function checkedHost(host: string): string {
  const label = /^[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?$/;
  if (host.length > 253 || !host.split('.').every((one) => label.test(one)))
    throw new Error(`not a host name: ${JSON.stringify(host)}`);
  return host;
}
