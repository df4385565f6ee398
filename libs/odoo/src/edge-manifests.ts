import type { V1EndpointSlice, V1ObjectMeta, V1Service } from '@kubernetes/client-node';
import { meshLabels } from './names.js';
import { edgeService } from './traefik.js';
import type { Wire } from './wire.js';

/** An IPv4 address, and the port on it. */
export interface EdgeAddress {
  readonly address: string;
  readonly port: number;
}

const port = 80;

/**
 * In a cell: a route may name nothing of another namespace, so each cell has a Service of its own that leads to the
 * edge's address. Headless: Traefik dials what the slice says, and no node has rules for it.
 */
export function edgeManifests(
  metadata: Wire<V1ObjectMeta>,
  edge: EdgeAddress | undefined,
): [Wire<V1Service>, ...Wire<V1EndpointSlice>[]] {
  const service: Wire<V1Service> = {
    apiVersion: 'v1',
    kind: 'Service',
    metadata,
    spec: { clusterIP: 'None', ports: [{ name: 'http', port, protocol: 'TCP' }] },
  };
  return edge ? [service, endpointSlice(metadata, edge)] : [service];
}

/** In the mesh's own namespace: the Service with the address that cells lead to, and where it leads when that is no pod. */
export function meshEdgeManifests(meshName: string, process: EdgeAddress): [Wire<V1Service>, Wire<V1EndpointSlice>] {
  const metadata = { name: edgeService, namespace: `${meshName}-system`, labels: meshLabels(meshName) };
  const service: Wire<V1Service> = {
    apiVersion: 'v1',
    kind: 'Service',
    metadata,
    spec: { ports: [{ name: 'http', port, protocol: 'TCP' }] },
  };
  return [service, endpointSlice(metadata, process)];
}

function endpointSlice(metadata: Wire<V1ObjectMeta>, edge: EdgeAddress): Wire<V1EndpointSlice> {
  return {
    apiVersion: 'discovery.k8s.io/v1',
    kind: 'EndpointSlice',
    metadata: {
      ...metadata,
      labels: {
        ...metadata.labels,
        'kubernetes.io/service-name': edgeService,
        'endpointslice.kubernetes.io/managed-by': 'odoo-mesh',
      },
    },
    addressType: 'IPv4',
    ports: [{ name: 'http', port: edge.port, protocol: 'TCP' }],
    endpoints: [{ addresses: [edge.address], conditions: { ready: true } }],
  };
}
