import type {
  V1EndpointSlice,
  V1LimitRange,
  V1Namespace,
  V1NetworkPolicy,
  V1ResourceQuota,
  V1RoleBinding,
  V1Service,
} from '@kubernetes/client-node';
import type { CellSpec } from './cell.js';
import { backupRoleName, footprintRoleName, jobRoleName } from './cluster-manifests.js';
import { edgeManifests } from './edge-manifests.js';
import { labelNames, meshLabels } from './names.js';
import { networkPolicySpecs } from './network-policies.js';
import { edgeService, type Middleware, middlewareSpecs } from './traefik.js';
import type { Wire } from './wire.js';

export type CellManifest =
  | Wire<V1Namespace>
  | Wire<V1NetworkPolicy>
  | Wire<V1LimitRange>
  | Wire<V1ResourceQuota>
  | Wire<V1RoleBinding>
  | Wire<V1Service>
  | Wire<V1EndpointSlice>
  | Middleware;

/** In the order in which they are applied: the namespace first, the right to write in it last. */
export function cellManifests(spec: CellSpec): CellManifest[] {
  return [
    namespace(spec),
    ...Object.entries(networkPolicySpecs(spec)).map(
      ([name, policy]): Wire<V1NetworkPolicy> => ({
        apiVersion: 'networking.k8s.io/v1',
        kind: 'NetworkPolicy',
        metadata: metadata(spec, name),
        spec: policy,
      }),
    ),
    limitRange(spec),
    resourceQuota(spec),
    ...Object.entries(middlewareSpecs).map(
      ([name, middleware]): Middleware => ({
        apiVersion: 'traefik.io/v1alpha1',
        kind: 'Middleware',
        metadata: metadata(spec, name),
        spec: middleware,
      }),
    ),
    ...edgeManifests(metadata(spec, edgeService), spec.edge),
    roleBinding(spec, 'job-runners', jobRoleName(spec.meshName), spec.jobRunners ?? []),
    roleBinding(spec, 'backup-runners', backupRoleName(spec.meshName), spec.backupRunners ?? []),
    roleBinding(spec, 'footprint-writers', footprintRoleName(spec.meshName), spec.footprintWriters),
  ];
}

const labels = ({ meshName, cell }: CellSpec) => ({ ...meshLabels(meshName), [labelNames.cell]: cell });

const metadata = (spec: CellSpec, name: string) => ({ name, namespace: spec.namespace, labels: labels(spec) });

function namespace(spec: CellSpec): Wire<V1Namespace> {
  return {
    apiVersion: 'v1',
    kind: 'Namespace',
    metadata: {
      name: spec.namespace,
      labels: { ...labels(spec), 'pod-security.kubernetes.io/enforce': 'restricted' },
    },
  };
}

/** For a container that forgot to say what it needs. */
function limitRange(spec: CellSpec): Wire<V1LimitRange> {
  return {
    apiVersion: 'v1',
    kind: 'LimitRange',
    metadata: metadata(spec, 'defaults'),
    spec: {
      limits: [
        {
          type: 'Container',
          default: { cpu: '1', memory: '512Mi' },
          defaultRequest: { cpu: '50m', memory: '160Mi' },
          max: { cpu: '4', memory: '8Gi' },
        },
      ],
    },
  };
}

/** A coarse fuse against a runaway, not the planner's arithmetic: half as much again as the cell has places. */
function resourceQuota(spec: CellSpec): Wire<V1ResourceQuota> {
  const objects = Math.ceil(spec.places * 1.5) + 10;
  return {
    apiVersion: 'v1',
    kind: 'ResourceQuota',
    metadata: metadata(spec, 'fuse'),
    spec: {
      hard: {
        pods: String(objects),
        persistentvolumeclaims: String(objects),
        'count/deployments.apps': String(objects),
        services: String(objects),
        secrets: String(objects * 3),
      },
    },
  };
}

function roleBinding(
  spec: CellSpec,
  name: string,
  role: string,
  accounts: CellSpec['footprintWriters'],
): Wire<V1RoleBinding> {
  return {
    apiVersion: 'rbac.authorization.k8s.io/v1',
    kind: 'RoleBinding',
    metadata: metadata(spec, name),
    roleRef: { apiGroup: 'rbac.authorization.k8s.io', kind: 'ClusterRole', name: role },
    subjects: accounts.map(({ serviceAccount, namespace: home }) => ({
      kind: 'ServiceAccount',
      name: serviceAccount,
      namespace: home,
    })),
  };
}
