import { describe, expect, it } from '@jest/globals';
import type { KubernetesObject } from '@kubernetes/client-node';
import fc from 'fast-check';
import type { FootprintSpec } from './footprint.js';
import { footprintManifests, ingressRouteManifest, type RouteTarget, targetOf } from './footprint-manifests.js';
import { footprintNames } from './names.js';
import { findPlan } from './plans.js';
import { type IngressRoute, middlewareSpecs } from './traefik.js';

const footprintId = '0199f3c2-7a41-7c1e-9f6a-2b7c5d1e4f00';
const object = 'o0199f3c27a417c1e9f6a2b7c5d1e4f00';
const spec: FootprintSpec = {
  meshName: 'mesh',
  names: footprintNames('mesh', footprintId),
  namespace: 'mesh-c0',
  cell: 'c0',
  footprintId,
  tenant: {
    instanceId: '0199f3c2-79d0-7aa2-8a15-6f2d3b9c0e11',
    customerId: 'c-1042',
    host: 'acme.example.com',
  },
  epoch: 3,
  plan: findPlan('business', 1)!,
  entry: { scheme: 'https' },
  image: 'registry.example/odoo:18.0',
  templateDatabase: 'tpl_apps',
  storageClass: 'local',
  replicas: 1,
};
const at = (host: string): FootprintSpec => ({ ...spec, tenant: { ...spec.tenant!, host } });
const secrets = { conf: '[options]\n', password: 's3cret' };
const manifests = footprintManifests(spec, secrets);

const podLabels = { app: 'odoo', 'mesh.odoo/footprint': footprintId, 'mesh.odoo/cell': 'c0' };
const metadata = {
  name: object,
  namespace: 'mesh-c0',
  labels: {
    ...podLabels,
    'instance-id': '0199f3c2-79d0-7aa2-8a15-6f2d3b9c0e11',
    'customer-id': 'c-1042',
    'app.kubernetes.io/name': 'odoo',
    'app.kubernetes.io/managed-by': 'odoo-mesh',
    'app.kubernetes.io/part-of': 'mesh',
  },
  annotations: { 'mesh.odoo/epoch': '3' },
};
const resources = { requests: { cpu: '50m', memory: '160Mi' }, limits: { cpu: '1', memory: '768Mi' } };
const securityContext = {
  allowPrivilegeEscalation: false,
  readOnlyRootFilesystem: true,
  capabilities: { drop: ['ALL'] },
};

it('the Secret is immutable and has a version in its name', () => {
  expect(manifests.secret).toEqual({
    apiVersion: 'v1',
    kind: 'Secret',
    metadata: { ...metadata, name: `${object}-v1` },
    type: 'Opaque',
    immutable: true,
    stringData: { 'odoo.conf': '[options]\n', 'database-password': 's3cret' },
  });
});

it('the volume has the size of the plan', () => {
  expect(manifests.volumeClaim).toEqual({
    apiVersion: 'v1',
    kind: 'PersistentVolumeClaim',
    metadata,
    spec: {
      storageClassName: 'local',
      accessModes: ['ReadWriteOnce'],
      resources: { requests: { storage: '10737418240' } },
    },
  });
});

it('the Service is headless', () => {
  expect(manifests.service).toEqual({
    apiVersion: 'v1',
    kind: 'Service',
    metadata,
    spec: {
      clusterIP: 'None',
      selector: podLabels,
      ports: [{ name: 'http', port: 8069, targetPort: 'http', protocol: 'TCP' }],
    },
  });
});

it('the Deployment is the one a real Odoo ran with', () => {
  expect(manifests.deployment).toEqual({
    apiVersion: 'apps/v1',
    kind: 'Deployment',
    metadata,
    spec: {
      replicas: 1,
      revisionHistoryLimit: 1,
      strategy: { type: 'Recreate' },
      selector: { matchLabels: { 'mesh.odoo/footprint': footprintId } },
      template: {
        metadata: { labels: podLabels },
        spec: {
          automountServiceAccountToken: false,
          enableServiceLinks: false,
          terminationGracePeriodSeconds: 15,
          priorityClassName: 'mesh-instance',
          securityContext: {
            runAsNonRoot: true,
            runAsUser: 10001,
            runAsGroup: 10001,
            fsGroup: 10001,
            fsGroupChangePolicy: 'OnRootMismatch',
            seccompProfile: { type: 'RuntimeDefault' },
          },
          initContainers: [
            {
              name: 'filestore',
              image: 'registry.example/odoo:18.0',
              imagePullPolicy: 'IfNotPresent',
              command: [
                'sh',
                '-ec',
                '[ -e "$1/$2" ] || { mkdir -p "$1"; rm -rf "$1/.$2"; cp -r "/opt/template/$3" "$1/.$2"; mv "$1/.$2" "$1/$2"; }',
                'sh',
                '/var/lib/odoo/filestore',
                `mesh_${object}`,
                'tpl_apps',
              ],
              securityContext,
              resources,
              volumeMounts: [{ name: 'data', mountPath: '/var/lib/odoo' }],
            },
          ],
          containers: [
            {
              name: 'odoo',
              image: 'registry.example/odoo:18.0',
              imagePullPolicy: 'IfNotPresent',
              ports: [{ name: 'http', containerPort: 8069, protocol: 'TCP' }],
              securityContext,
              resources,
              startupProbe: {
                httpGet: { path: '/websocket/health', port: 'http' },
                periodSeconds: 1,
                timeoutSeconds: 60,
                failureThreshold: 90,
              },
              readinessProbe: {
                httpGet: { path: '/web/health', port: 'http' },
                periodSeconds: 10,
                timeoutSeconds: 5,
                failureThreshold: 3,
              },
              livenessProbe: {
                exec: { command: ['sh', '-c', 'set -- /proc/1/task/*; [ $# -ge 3 ]'] },
                periodSeconds: 30,
                timeoutSeconds: 10,
                failureThreshold: 3,
              },
              env: [
                { name: 'ODOO_PGAPPNAME', value: object },
                { name: 'PYTHONDONTWRITEBYTECODE', value: '1' },
                { name: 'PYTHONUNBUFFERED', value: '1' },
              ],
              volumeMounts: [
                { name: 'conf', mountPath: '/etc/odoo', readOnly: true },
                { name: 'data', mountPath: '/var/lib/odoo' },
                { name: 'tmp', mountPath: '/tmp' },
              ],
            },
          ],
          volumes: [
            {
              name: 'conf',
              secret: {
                secretName: `${object}-v1`,
                defaultMode: 0o440,
                items: [{ key: 'odoo.conf', path: 'odoo.conf' }],
              },
            },
            { name: 'data', persistentVolumeClaim: { claimName: object } },
            { name: 'tmp', emptyDir: { sizeLimit: '256Mi' } },
          ],
        },
      },
    },
  });
});

const routeOf = (of: FootprintSpec, to?: RouteTarget) => ingressRouteManifest(of, ['acme.example.com'], to);
const rule = (priority: number, where: string, middlewares: readonly string[], service = object) => ({
  kind: 'Rule',
  match: `Host(\`acme.example.com\`)${where}`,
  priority,
  middlewares: middlewares.map((name) => ({ name })),
  services: [{ name: service, port: 'http' }],
});
const pages = rule(10, '', ['security-headers', 'rate-limit', 'forwarded-https', 'not-answering']);
const websocket = rule(20, ' && PathPrefix(`/websocket`)', ['rate-limit', 'forwarded-https']);

it('the route leads the host to Odoo and stops what is nobody’s business', () => {
  expect(manifests.ingressRoute).toEqual({
    apiVersion: 'traefik.io/v1alpha1',
    kind: 'IngressRoute',
    metadata,
    spec: {
      entryPoints: ['web'],
      routes: [pages, websocket, rule(30, ` && ${closedRule()}`, ['blocked'])],
    },
  });
});

describe('what an instance was called before', () => {
  const toEdge = (host: string) => ({
    ...rule(10, '', ['rate-limit'], 'edge'),
    match: `Host(\`${host}\`)`,
  });
  const former = ['old.example.com', 'older.example.com'];
  const renamed = (to: RouteTarget) => ingressRouteManifest(spec, ['acme.example.com'], to, former);

  it.each(['instance', 'edge'] as const)(
    'leads to the edge, after the rules of the host that leads to the %s',
    (to) => {
      expect(renamed(to).spec.routes).toEqual([...routeOf(spec, to).spec.routes, ...former.map(toEdge)]);
    },
  );

  it('does not say where the instance is led to', () => {
    const [first, ...others] = renamed('instance').spec.routes;
    const turned = { spec: { ...renamed('instance').spec, routes: [...others.reverse(), first!] } };
    expect(targetOf(turned, 'acme.example.com')).toBe('instance');
    expect(targetOf(turned, 'old.example.com')).toBe('edge');
    expect(targetOf(renamed('edge'), 'acme.example.com')).toBe('edge');
    expect(targetOf(renamed('instance'), 'not-written-yet.example.com')).toBe('instance');
  });

  it('cannot be anything but a name', () => {
    expect(() => ingressRouteManifest(spec, ['acme.example.com'], 'edge', ['a`) || Host(`b'])).toThrow(
      'not a host name',
    );
  });
});

describe('a domain of its customer’s', () => {
  const domain = 'erp.acme.example';
  const found = (to: RouteTarget, of = spec) =>
    ingressRouteManifest(of, ['acme.example.com', domain], to, ['old.example.com']);
  const elsewhere = (routes: IngressRoute['spec']['routes']) =>
    routes.map((route) => ({ ...route, match: route.match.replace('acme.example.com', domain) }));

  it.each([
    ['instance', false],
    ['instance', true],
    ['edge', false],
  ] as const)('has all the rules of its host where that leads to the %s (RPC: %s)', (to, rpc) => {
    const of = { ...spec, plan: { ...spec.plan, rpc } };
    const { routes } = routeOf(of, to).spec;
    expect(found(to, of).spec.routes.slice(0, -1)).toEqual([...routes, ...elsewhere(routes)]);
  });

  it('does not say where the instance is led to, and has the certificate that the router knows for it', () => {
    expect(targetOf(found('edge'), 'acme.example.com')).toBe('edge');
    expect(found('instance').spec).not.toHaveProperty('tls');
    const entry = { scheme: 'https', tlsSecret: 'all-hosts' } as const;
    expect(found('instance', { ...spec, entry }).spec.tls).toEqual({ secretName: 'all-hosts' });
  });

  it('cannot be anything but a name', () => {
    expect(() => ingressRouteManifest(spec, ['acme.example.com', 'a`) || Host(`b'])).toThrow('not a host name');
  });
});

/** The rule of what is closed, as it stands in a route. */
function closedRule(of: FootprintSpec = spec): string {
  return routeOf(of).spec.routes.at(-1)!.match.replace('Host(`acme.example.com`) && ', '');
}

/** RE2 and JavaScript read these expressions alike, but for the place of the flag. */
function closes(path: string, of: FootprintSpec = spec): boolean {
  const [, expression] = /^PathRegexp\(`\(\?i\)([^`]+)`\)$/.exec(closedRule(of))!;
  return new RegExp(expression!, 'i').test(path);
}

const enterprise = { ...spec, plan: findPlan('enterprise', 2)! };

it.each([
  '/web/database',
  '/web/database/manager',
  '/web//database/manager',
  '//web/database',
  '/web%2Fdatabase/manager',
  '/%2fweb%2f%2Fdatabase',
  '/WEB/Database/manager',
  '/fr/web/database/manager',
  '/zh_CN/web/database',
  '/fr%2Fweb%2Fdatabase',
  '/web/database;x/manager',
])('%s is closed to everybody', (path) => {
  expect([closes(path), closes(path, enterprise)]).toEqual([true, true]);
});

it.each([
  '/jsonrpc',
  '//jsonrpc',
  '/jsonrpc/',
  '/fr/jsonrpc',
  '/xmlrpc/2/object',
  '/xmlrpc%2F2%2Fcommon',
  '/%2fxmlrpc',
])('%s is closed, but where the plan opens it', (path) => {
  expect([closes(path), closes(path, enterprise)]).toEqual([true, false]);
});

it.each(['/xmlrpc/db', '/xmlrpc/2/db', '/xmlrpc//2//db', '/xmlrpc%2F2%2fdb', '/fr/xmlrpc/2/db'])(
  '%s is closed, also where the plan opens RPC',
  (path) => {
    expect([closes(path), closes(path, enterprise)]).toEqual([true, true]);
  },
);

it.each([
  '/',
  '/web',
  '/web/login',
  '/odoo/web-database',
  '/web/dataset/call_kw',
  '/shop/category/web/database-5',
  '/blog/posts/jsonrpc-for-beginners',
  '/websocket',
])('%s is open', (path) => {
  expect([closes(path), closes(path, enterprise)]).toEqual([false, false]);
});

it('a plan with RPC has a rule for it, which other sites may call, without anybody’s cookies', () => {
  const rpc = rule(25, ' && (PathPrefix(`/jsonrpc`) || PathPrefix(`/xmlrpc`))', [
    'security-headers',
    'api-cors',
    'rate-limit',
    'forwarded-https',
  ]);
  const { routes } = routeOf(enterprise).spec;
  expect(routes).toEqual([pages, websocket, rpc, rule(30, ` && ${closedRule(enterprise)}`, ['blocked'])]);
  expect(JSON.stringify(middlewareSpecs['api-cors'])).not.toContain('Credentials');
});

it('every middleware of a route is one that cells have', () => {
  const routes = (['instance', 'edge'] as const).flatMap((to) => routeOf(enterprise, to).spec.routes);
  const used = routes.flatMap(({ middlewares = [] }) => middlewares.map(({ name }) => name));
  expect(Object.keys(middlewareSpecs)).toEqual(expect.arrayContaining(used));
});

it('where TLS ends in front of the router, Odoo still hears of https; where there is none, of http', () => {
  const { routes } = routeOf({ ...spec, entry: { scheme: 'http' } }).spec;
  expect(routes[0]!.middlewares).toContainEqual({ name: 'forwarded-http' });
});

it.each(['instance', 'edge'] as const)('with a certificate the way to the %s is the secure entry point', (to) => {
  const tls = routeOf({ ...spec, entry: { scheme: 'https', tlsSecret: 'wildcard' } }, to).spec;
  const { entryPoints, ...rest } = routeOf(spec, to).spec;
  expect(entryPoints).toEqual(['web']);
  expect(tls).toEqual({ ...rest, entryPoints: ['websecure'], tls: { secretName: 'wildcard' } });
});

it('a route that leads to the edge is the same object, and leads nothing to Odoo', () => {
  expect(routeOf(spec, 'edge')).toEqual({
    ...manifests.ingressRoute,
    spec: { entryPoints: ['web'], routes: [rule(10, '', ['rate-limit'], 'edge')] },
  });
});

it('a stopped footprint is the same with no pod', () => {
  const stopped = footprintManifests({ ...spec, replicas: 0 }, secrets);
  expect(stopped).toEqual({
    ...manifests,
    deployment: { ...manifests.deployment, spec: { ...manifests.deployment.spec, replicas: 0 } },
  });
});

it('a claim changes who it is for on every object, and nothing in the pod’s template: nothing restarts', () => {
  const claimed = footprintManifests(
    { ...spec, tenant: { instanceId: 'another', customerId: 'other', host: 'other.example.com' }, epoch: 4 },
    secrets,
  );
  expect(claimed.deployment.spec).toEqual(manifests.deployment.spec);
  for (const manifest of Object.values(claimed) as KubernetesObject[]) {
    expect(manifest.metadata?.labels).toMatchObject({ 'instance-id': 'another', 'customer-id': 'other' });
    expect(manifest.metadata?.annotations).toEqual({ 'mesh.odoo/epoch': '4' });
  }
});

it('a spare is the same, but nobody’s: no customer on it, and no way to it', () => {
  const spare = footprintManifests({ ...spec, tenant: null }, secrets);
  expect(spare.deployment.spec).toEqual(manifests.deployment.spec);
  expect(spare.ingressRoute).toBeUndefined();
  expect(JSON.stringify(spare)).not.toMatch(/instance-id|customer-id|c-1042|acme/);
});

it('no customer id can do more than be itself: a label that is one, and the raw text in an annotation', () => {
  fc.assert(
    fc.property(fc.string({ unit: 'binary', maxLength: 128 }), (customerId) => {
      const sent = JSON.parse(
        JSON.stringify(footprintManifests({ ...spec, tenant: { ...spec.tenant!, customerId } }, secrets)),
      );
      for (const [name, manifest] of Object.entries(manifests)) {
        const { labels, annotations, ...rest } = sent[name].metadata;
        const { 'customer-id': label, ...otherLabels } = labels;
        expect(label).toMatch(/^[A-Za-z0-9]([A-Za-z0-9._-]{0,61}[A-Za-z0-9])?$/);
        expect(annotations['mesh.odoo/customer-id'] ?? label).toBe(customerId);
        delete annotations['mesh.odoo/customer-id'];
        const { 'customer-id': _, ...expectedLabels } = metadata.labels;
        expect({ ...sent[name], metadata: { ...rest, labels: otherLabels, annotations } }).toEqual({
          ...manifest,
          metadata: { ...manifest.metadata, labels: expectedLabels },
        });
      }
    }),
  );
});

it.each([
  '',
  'a`b',
  'a`) || Host(`b',
  'Acme.example.com',
  'a..b',
  '-a.b',
  'a_b.c',
  'a.b\n',
  'a b',
  'a/b',
  '*.b',
  `${'a.'.repeat(126)}aa`,
])('refuses %j as a host', (host) => {
  expect(() => footprintManifests(at(host), secrets)).toThrow('not a host name');
});

it('no host can change a rule: it is between the quotes, or refused', () => {
  const host = fc.oneof(
    fc.string({ unit: 'binary' }),
    fc.domain(),
    fc.array(fc.constantFrom('a', '-', '.', '`', ')', '|', ' ', 'A', '_'), { maxLength: 12 }).map((x) => x.join('')),
  );
  fc.assert(
    fc.property(host, (host) => {
      let rules: readonly { match: string }[];
      try {
        rules = footprintManifests(at(host), secrets).ingressRoute!.spec.routes;
      } catch {
        return;
      }
      expect(host).toMatch(/^[a-z0-9.-]+$/);
      expect(rules.map((rule) => rule.match)).toEqual(
        manifests.ingressRoute!.spec.routes.map((rule) => rule.match.replace('acme.example.com', host)),
      );
    }),
  );
});

it.each(['', '../../etc', 'a/b', '.hidden', '-r', '$(id)'])('refuses %j as the name of a template', (name) => {
  expect(() => footprintManifests({ ...spec, templateDatabase: name }, secrets)).toThrow('not the name of a template');
});
