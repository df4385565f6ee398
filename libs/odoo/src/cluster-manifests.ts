import type { V1ClusterRole, V1PolicyRule, V1PriorityClass } from '@kubernetes/client-node';
import { objectStoreSecret } from './backup-jobs.js';
import { meshLabels } from './names.js';
import type { Wire } from './wire.js';

export const footprintRoleName = (meshName: string) => `${meshName}-footprint-writer`;
export const jobRoleName = (meshName: string) => `${meshName}-job-runner`;
export const backupRoleName = (meshName: string) => `${meshName}-backup-runner`;
export const volumeRoleName = (meshName: string) => `${meshName}-volume-releaser`;
export const cellRoleName = (meshName: string) => `${meshName}-cell-writer`;

/** Installed once per mesh by an administrator: priorities, and the roles that the services' accounts are bound to. */
export function clusterManifests(meshName: string): (Wire<V1PriorityClass> | Wire<V1ClusterRole>)[] {
  const labels = meshLabels(meshName);
  const priority = (name: string, value: number, description: string): Wire<V1PriorityClass> => ({
    apiVersion: 'scheduling.k8s.io/v1',
    kind: 'PriorityClass',
    metadata: { name: `${meshName}-${name}`, labels },
    value,
    description,
  });
  const role = (name: string, rules: readonly Wire<V1PolicyRule>[]): Wire<V1ClusterRole> => ({
    apiVersion: 'rbac.authorization.k8s.io/v1',
    kind: 'ClusterRole',
    metadata: { name, labels },
    rules,
  });
  return [
    priority('instance', 100_000, 'Odoo instances of customers'),
    priority('instance-trial', 50_000, 'Odoo instances on trial'),
    priority('backup', 10_000, 'backups and restores: they wait for instances, and not for spares'),
    priority('spare', 1_000, 'running spares: the first to give way'),
    role(footprintRoleName(meshName), footprintRules),
    role(jobRoleName(meshName), jobRules),
    role(backupRoleName(meshName), backupRules),
    role(volumeRoleName(meshName), volumeRules),
    role(cellRoleName(meshName), cellRules(meshName)),
  ];
}

const write = ['get', 'list', 'watch', 'create', 'patch', 'delete'];

/** Bound in each cell by the planner. Secrets can be read by name, not listed. */
const footprintRules: readonly Wire<V1PolicyRule>[] = [
  { apiGroups: [''], resources: ['secrets'], verbs: ['get', 'create', 'patch', 'delete'] },
  { apiGroups: [''], resources: ['services', 'persistentvolumeclaims'], verbs: write },
  // By patch a claim labels the running pod.
  { apiGroups: [''], resources: ['pods'], verbs: ['get', 'list', 'watch', 'patch'] },
  { apiGroups: ['apps'], resources: ['deployments'], verbs: write },
  { apiGroups: ['traefik.io'], resources: ['ingressroutes'], verbs: write },
];

/** Bound in each cell beside the footprint role, for who works with Jobs: it reads their logs, and what the cell has room for. */
const jobRules: readonly Wire<V1PolicyRule>[] = [
  { apiGroups: ['batch'], resources: ['jobs'], verbs: ['get', 'list', 'watch', 'create', 'delete'] },
  { apiGroups: [''], resources: ['pods/log'], verbs: ['get'] },
  { apiGroups: [''], resources: ['resourcequotas'], verbs: ['list'] },
];

/**
 * Bound in each cell, for who copies volumes and works on the copies. Rights know no labels: these are good for the claims
 * of instances too, and only the code keeps to its own. Of Secrets it reads and writes the one it makes.
 */
const backupRules: readonly Wire<V1PolicyRule>[] = [
  { apiGroups: ['batch'], resources: ['jobs'], verbs: ['get', 'list', 'watch', 'create', 'delete'] },
  { apiGroups: [''], resources: ['pods'], verbs: ['get', 'list', 'watch'] },
  { apiGroups: [''], resources: ['pods/log'], verbs: ['get'] },
  { apiGroups: [''], resources: ['persistentvolumeclaims'], verbs: ['get', 'list', 'watch', 'create', 'delete'] },
  {
    apiGroups: ['snapshot.storage.k8s.io'],
    resources: ['volumesnapshots'],
    verbs: ['get', 'list', 'watch', 'create', 'delete'],
  },
  // What is made cannot be named beforehand; what is changed can.
  { apiGroups: [''], resources: ['secrets'], verbs: ['create'] },
  { apiGroups: [''], resources: ['secrets'], resourceNames: [objectStoreSecret], verbs: ['get', 'patch'] },
];

/** Bound cluster-wide: volumes have no namespace. One that is to go is marked so; nothing else may be done to any. */
const volumeRules: readonly Wire<V1PolicyRule>[] = [
  { apiGroups: [''], resources: ['persistentvolumes'], verbs: ['get', 'patch'] },
];

/** Bound cluster-wide to the planner. It can hand on the roles of a cell and no other. */
function cellRules(meshName: string): readonly Wire<V1PolicyRule>[] {
  const verbs = ['get', 'create', 'patch'];
  return [
    { apiGroups: [''], resources: ['namespaces', 'limitranges', 'resourcequotas', 'services'], verbs },
    { apiGroups: ['discovery.k8s.io'], resources: ['endpointslices'], verbs },
    { apiGroups: ['networking.k8s.io'], resources: ['networkpolicies'], verbs },
    { apiGroups: ['traefik.io'], resources: ['middlewares'], verbs },
    { apiGroups: ['rbac.authorization.k8s.io'], resources: ['rolebindings'], verbs },
    {
      apiGroups: ['rbac.authorization.k8s.io'],
      resources: ['clusterroles'],
      resourceNames: [footprintRoleName(meshName), jobRoleName(meshName), backupRoleName(meshName)],
      verbs: ['bind'],
    },
  ];
}
