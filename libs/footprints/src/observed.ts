import type { V1Deployment, V1PersistentVolumeClaim } from '@kubernetes/client-node';
import type { KubernetesObject } from '#kubernetes/index.js';

export type VolumeState = 'absent' | 'pending' | 'bound' | 'terminating';

export interface Workload {
  /** The pod that runs now is the one that is wanted, and it is Ready; or none is wanted, and the controller knows of none. */
  readonly ready: boolean;
  /** Why Kubernetes cannot make the pod, in its own words. */
  readonly refusal?: { readonly reason: string; readonly message: string };
}

export type WorkloadState = 'absent' | 'terminating' | Workload;

export function volumeState(claim: (V1PersistentVolumeClaim & KubernetesObject) | undefined): VolumeState {
  if (!claim) return 'absent';
  if (claim.metadata?.deletionTimestamp) return 'terminating';
  return claim.status?.phase === 'Bound' ? 'bound' : 'pending';
}

export function workloadState(deployment: (V1Deployment & KubernetesObject) | undefined): WorkloadState {
  if (!deployment) return 'absent';
  if (deployment.metadata?.deletionTimestamp) return 'terminating';
  const { spec, status, metadata } = deployment;
  const failure = status?.conditions?.find((one) => one.type === 'ReplicaFailure' && one.status === 'True');
  return {
    ready:
      status?.observedGeneration === metadata?.generation &&
      (status?.updatedReplicas ?? 0) >= (spec?.replicas ?? 1) &&
      (status?.readyReplicas ?? 0) >= (spec?.replicas ?? 1) &&
      (status?.replicas ?? 0) === (spec?.replicas ?? 1),
    ...(failure && { refusal: { reason: failure.reason ?? 'ReplicaFailure', message: failure.message ?? '' } }),
  };
}
