import type { V1ObjectMeta } from '@kubernetes/client-node';
import type { Wire } from './wire.js';

/** `traefik.io/v1alpha1`: the older group is gone from Traefik 3. */
export interface IngressRoute {
  readonly apiVersion: 'traefik.io/v1alpha1';
  readonly kind: 'IngressRoute';
  readonly metadata: Wire<V1ObjectMeta>;
  readonly spec: {
    readonly entryPoints: readonly string[];
    readonly routes: readonly Route[];
    readonly tls?: { readonly secretName: string };
  };
}

export interface Route {
  readonly kind: 'Rule';
  readonly match: string;
  readonly priority: number;
  readonly middlewares?: readonly { readonly name: string }[];
  readonly services: readonly ServicePort[];
}

export interface Middleware {
  readonly apiVersion: 'traefik.io/v1alpha1';
  readonly kind: 'Middleware';
  readonly metadata: Wire<V1ObjectMeta>;
  readonly spec: MiddlewareSpec;
}

type MiddlewareSpec =
  | { readonly ipAllowList: { readonly sourceRange: readonly string[] } }
  | { readonly rateLimit: { readonly average: number; readonly burst: number } }
  | { readonly headers: Readonly<Record<string, unknown>> }
  | {
      readonly errors: {
        readonly status: readonly string[];
        readonly statusRewrites: Readonly<Record<string, number>>;
        readonly service: ServicePort;
        readonly query: string;
      };
    };

interface ServicePort {
  readonly name: string;
  readonly port: string;
}

/** How browsers reach the instances of a mesh. */
export interface Entry {
  /** What stands before the host in the address bar, whoever ends TLS. */
  readonly scheme: 'http' | 'https';
  /** A Secret in the cell's namespace whose certificate is good for the host: Traefik ends TLS. Absent: it does not. */
  readonly tlsSecret?: string | undefined;
}

/** The Service in each cell that leads to the mesh's edge. */
export const edgeService = 'edge';

/** What every cell has; why these values: decision 0018. */
export const middlewareSpecs = {
  /** 403 for everybody: the address is nobody's. */
  blocked: { ipAllowList: { sourceRange: ['255.255.255.255/32'] } },
  'security-headers': {
    headers: { customFrameOptionsValue: 'SAMEORIGIN', contentTypeNosniff: true, browserXssFilter: true },
  },
  /** Of one client's address at one instance, in a second. */
  'rate-limit': { rateLimit: { average: 50, burst: 100 } },
  'api-cors': {
    headers: {
      accessControlAllowMethods: ['GET', 'OPTIONS', 'PUT', 'POST', 'DELETE', 'PATCH'],
      accessControlAllowOriginList: ['*'],
      accessControlAllowHeaders: ['*'],
      accessControlMaxAge: 86_400,
    },
  },
  /** Where no pod answers, the edge says why; and it says 503, because the pod may be there in a moment. */
  'not-answering': {
    errors: {
      status: ['502-504'],
      statusRewrites: { '502-504': 503 },
      service: { name: edgeService, port: 'http' },
      query: '/',
    },
  },
  'forwarded-http': { headers: { customRequestHeaders: { 'X-Forwarded-Proto': 'http' } } },
  'forwarded-https': { headers: { customRequestHeaders: { 'X-Forwarded-Proto': 'https' } } },
} as const satisfies Readonly<Record<string, MiddlewareSpec>>;

type MiddlewareName = keyof typeof middlewareSpecs;

export interface RouteOptions {
  readonly scheme: Entry['scheme'];
  /** Whether programs may call Odoo from outside. */
  readonly rpc: boolean;
}

/**
 * The rules of an instance; the higher priority wins. With workers = 0 the websocket is on the same port; it has its own
 * rule because it gets other middlewares than pages. Throws on a host that is not a DNS name.
 */
export function routesOf(host: string, service: string, { scheme, rpc }: RouteOptions): readonly Route[] {
  const toHost = `Host(\`${checkedHost(host)}\`)`;
  const rule = (priority: number, where: string | undefined, ...middlewares: readonly MiddlewareName[]): Route => ({
    kind: 'Rule',
    match: where === undefined ? toHost : `${toHost} && ${where}`,
    priority,
    middlewares: middlewares.map((name) => ({ name })),
    services: [{ name: service, port: 'http' }],
  });
  const forwarded = `forwarded-${scheme}` as const;
  return [
    rule(10, undefined, 'security-headers', 'rate-limit', forwarded, 'not-answering'),
    rule(20, 'PathPrefix(`/websocket`)', 'rate-limit', forwarded),
    ...(rpc
      ? [
          rule(
            25,
            '(PathPrefix(`/jsonrpc`) || PathPrefix(`/xmlrpc`))',
            'security-headers',
            'api-cors',
            'rate-limit',
            forwarded,
          ),
        ]
      : []),
    rule(30, `PathRegexp(\`${rpc ? closedWithRpc : closed}\`)`, 'blocked'),
  ];
}

/** All of a host leads to the cell's edge, which says why the instance does not answer itself. */
export function routesToEdge(host: string): readonly Route[] {
  return [
    {
      kind: 'Rule',
      match: `Host(\`${checkedHost(host)}\`)`,
      priority: 10,
      middlewares: [{ name: 'rate-limit' satisfies MiddlewareName }],
      services: [{ name: edgeService, port: 'http' }],
    },
  ];
}

/**
 * Traefik leaves an encoded slash as it is, and Odoo decodes it. Before the path there may be one segment more: Odoo
 * takes the name of a language away and looks again.
 */
function closedPath(...paths: readonly (readonly string[])[]): string {
  const slash = '(?:/|%2f)+';
  return `(?i)^(?:${slash}[^/]+?)?${slash}(?:${paths.map((segments) => segments.join(slash)).join('|')})`;
}

const databaseManager = ['web', 'database'];
/** What is nobody's business from outside: the database manager and the RPC that knows no dbfilter. */
const closed = closedPath(databaseManager, ['jsonrpc'], ['xmlrpc']);
/** Where RPC is open its part that manages databases is not. */
const closedWithRpc = closedPath(databaseManager, ['xmlrpc', 'db'], ['xmlrpc', '2', 'db']);

/** The host stands inside a rule's quotes: only what a DNS name can hold gets there. */
function checkedHost(host: string): string {
  const label = /^[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?$/;
  if (host.length > 253 || !host.split('.').every((one) => label.test(one)))
    throw new Error(`not a host name: ${JSON.stringify(host)}`);
  return host;
}
