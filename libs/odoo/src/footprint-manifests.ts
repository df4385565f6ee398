import type { V1Deployment, V1PersistentVolumeClaim, V1Secret, V1Service } from '@kubernetes/client-node';
import { deploymentManifest } from './deployment-manifest.js';
import { type FootprintSpec, objectMetadata, podLabels } from './footprint.js';
import { httpPort } from './odoo-conf.js';
import { edgeService, type IngressRoute, routesOf, routesToEdge } from './traefik.js';
import type { Wire } from './wire.js';

/** A footprint on the cluster, complete: what is applied is all of it, replicas included. */
export interface FootprintManifests {
  readonly secret: Wire<V1Secret>;
  readonly volumeClaim: Wire<V1PersistentVolumeClaim>;
  readonly service: Wire<V1Service>;
  readonly deployment: Wire<V1Deployment>;
  /** None of a spare: nobody is to reach it. */
  readonly ingressRoute: IngressRoute | undefined;
}

/**
 * The secret is created (and read back when it is there already), the rest applied; the claim before the deployment,
 * because a pod that starts before its claim is bound can lose 14 s.
 */
export function footprintManifests(
  spec: FootprintSpec,
  { conf, password }: { readonly conf: string; readonly password: string },
): FootprintManifests {
  return {
    secret: secretManifest(spec, conf, password),
    volumeClaim: volumeClaimManifest(spec),
    service: serviceManifest(spec),
    deployment: deploymentManifest(spec),
    ingressRoute: spec.tenant ? ingressRouteManifest(spec, [spec.tenant.host]) : undefined,
  };
}

/** `immutable`: a change is a new name, and kubelets need not watch it. */
export function secretManifest(spec: FootprintSpec, conf: string, password: string): Wire<V1Secret> {
  return {
    apiVersion: 'v1',
    kind: 'Secret',
    metadata: objectMetadata(spec, spec.names.secret),
    type: 'Opaque',
    immutable: true,
    stringData: { 'odoo.conf': conf, 'database-password': password },
  };
}

export function volumeClaimManifest(spec: FootprintSpec): Wire<V1PersistentVolumeClaim> {
  return {
    apiVersion: 'v1',
    kind: 'PersistentVolumeClaim',
    metadata: objectMetadata(spec, spec.names.object),
    spec: {
      storageClassName: spec.storageClass,
      accessModes: ['ReadWriteOnce'],
      resources: { requests: { storage: String(spec.plan.storageBytes) } },
    },
  };
}

/** Headless: no cluster address, no rules on every node; Traefik dials the pod itself. */
export function serviceManifest(spec: FootprintSpec): Wire<V1Service> {
  return {
    apiVersion: 'v1',
    kind: 'Service',
    metadata: objectMetadata(spec, spec.names.object),
    spec: {
      clusterIP: 'None',
      selector: podLabels(spec),
      ports: [{ name: 'http', port: httpPort, targetPort: 'http', protocol: 'TCP' }],
    },
  };
}

/** Where the host of an instance leads: to Odoo, or to the page that says why it does not answer. */
export type RouteTarget = 'instance' | 'edge';

/**
 * One object of one name for both, so that pointing it elsewhere is one write, and nothing is left over. All its hosts lead
 * to the same; what the instance was called before leads to the edge, which knows where it is found now.
 */
export function ingressRouteManifest(
  spec: FootprintSpec,
  hosts: readonly string[],
  to: RouteTarget = 'instance',
  formerHosts: readonly string[] = [],
): IngressRoute {
  const { names, plan, entry } = spec;
  const { scheme, tlsSecret } = entry;
  return {
    apiVersion: 'traefik.io/v1alpha1',
    kind: 'IngressRoute',
    metadata: objectMetadata(spec, names.object),
    spec: {
      entryPoints: [tlsSecret === undefined ? 'web' : 'websecure'],
      routes: [
        ...hosts.flatMap((host) =>
          to === 'edge' ? routesToEdge(host) : routesOf(host, names.object, { scheme, rpc: plan.rpc }),
        ),
        ...formerHosts.flatMap(routesToEdge),
      ],
      ...(tlsSecret !== undefined && { tls: { secretName: tlsSecret } }),
    },
  };
}

/** Where a route leads this host; one that has no rule for it was written for another host, and leads that one there. */
export function targetOf({ spec }: Pick<IngressRoute, 'spec'>, host: string): RouteTarget {
  const rule = spec.routes.find(({ match }) => match.startsWith(`Host(\`${host}\`)`)) ?? spec.routes[0];
  return rule?.services[0]?.name === edgeService ? 'edge' : 'instance';
}
