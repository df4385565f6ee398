/** What is needed of an object to find it. */
export interface ObjectRef {
  readonly kind: string;
  readonly name: string;
  readonly namespace?: string;
}

/** What every object has. The rest is up to the kind. */
export interface KubernetesObject {
  readonly apiVersion?: string;
  readonly kind?: string;
  readonly metadata?: {
    readonly name?: string;
    readonly namespace?: string;
    readonly uid?: string;
    readonly resourceVersion?: string;
    readonly generation?: number;
    readonly deletionTimestamp?: Date | string;
    readonly labels?: Record<string, string>;
    readonly annotations?: Record<string, string>;
  };
}

/** Kind → where its objects are. A table, so that no call has to ask the server what it serves. */
const paths: Readonly<Record<string, { readonly api: string; readonly plural: string; readonly namespaced: boolean }>> =
  {
    Namespace: { api: 'api/v1', plural: 'namespaces', namespaced: false },
    PersistentVolume: { api: 'api/v1', plural: 'persistentvolumes', namespaced: false },
    Secret: { api: 'api/v1', plural: 'secrets', namespaced: true },
    Service: { api: 'api/v1', plural: 'services', namespaced: true },
    ServiceAccount: { api: 'api/v1', plural: 'serviceaccounts', namespaced: true },
    Pod: { api: 'api/v1', plural: 'pods', namespaced: true },
    PersistentVolumeClaim: { api: 'api/v1', plural: 'persistentvolumeclaims', namespaced: true },
    LimitRange: { api: 'api/v1', plural: 'limitranges', namespaced: true },
    ResourceQuota: { api: 'api/v1', plural: 'resourcequotas', namespaced: true },
    ConfigMap: { api: 'api/v1', plural: 'configmaps', namespaced: true },
    Deployment: { api: 'apis/apps/v1', plural: 'deployments', namespaced: true },
    NetworkPolicy: { api: 'apis/networking.k8s.io/v1', plural: 'networkpolicies', namespaced: true },
    PriorityClass: { api: 'apis/scheduling.k8s.io/v1', plural: 'priorityclasses', namespaced: false },
    ClusterRole: { api: 'apis/rbac.authorization.k8s.io/v1', plural: 'clusterroles', namespaced: false },
    ClusterRoleBinding: { api: 'apis/rbac.authorization.k8s.io/v1', plural: 'clusterrolebindings', namespaced: false },
    RoleBinding: { api: 'apis/rbac.authorization.k8s.io/v1', plural: 'rolebindings', namespaced: true },
    IngressRoute: { api: 'apis/traefik.io/v1alpha1', plural: 'ingressroutes', namespaced: true },
    Middleware: { api: 'apis/traefik.io/v1alpha1', plural: 'middlewares', namespaced: true },
  };

export function collectionPath(kind: string, namespace: string | undefined): string {
  const known = paths[kind];
  if (!known) throw new Error(`libs/kubernetes does not know where ${kind} objects are; add it to resources.ts`);
  if (!known.namespaced) return `/${known.api}/${known.plural}`;
  if (namespace === undefined) throw new Error(`a ${kind} lives in a namespace`);
  return `/${known.api}/namespaces/${encodeURIComponent(namespace)}/${known.plural}`;
}

export function objectPath(ref: ObjectRef): string {
  return `${collectionPath(ref.kind, ref.namespace)}/${encodeURIComponent(ref.name)}`;
}

export function refOf(object: KubernetesObject): ObjectRef {
  const { kind, metadata } = object;
  if (!kind || !metadata?.name) throw new Error('an object needs a kind and a name');
  return { kind, name: metadata.name, ...(metadata.namespace && { namespace: metadata.namespace }) };
}

export function describeRef(ref: ObjectRef): string {
  return `${ref.kind} ${ref.namespace ? `${ref.namespace}/` : ''}${ref.name}`;
}
