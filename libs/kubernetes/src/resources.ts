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

interface Resource {
  readonly api: string;
  readonly plural: string;
  readonly namespaced: boolean;
}

const resource = (api: string, plural: string, namespaced = true): Resource => ({ api, plural, namespaced });

/** Kind → where its objects are. A table, so that no call has to ask the server what it serves. */
const resources: ReadonlyMap<string, Resource> = new Map([
  ['Namespace', resource('api/v1', 'namespaces', false)],
  ['PersistentVolume', resource('api/v1', 'persistentvolumes', false)],
  ['Secret', resource('api/v1', 'secrets')],
  ['Service', resource('api/v1', 'services')],
  ['ServiceAccount', resource('api/v1', 'serviceaccounts')],
  ['Pod', resource('api/v1', 'pods')],
  ['PersistentVolumeClaim', resource('api/v1', 'persistentvolumeclaims')],
  ['LimitRange', resource('api/v1', 'limitranges')],
  ['ResourceQuota', resource('api/v1', 'resourcequotas')],
  ['ConfigMap', resource('api/v1', 'configmaps')],
  ['EndpointSlice', resource('apis/discovery.k8s.io/v1', 'endpointslices')],
  ['Deployment', resource('apis/apps/v1', 'deployments')],
  ['Job', resource('apis/batch/v1', 'jobs')],
  ['NetworkPolicy', resource('apis/networking.k8s.io/v1', 'networkpolicies')],
  ['PriorityClass', resource('apis/scheduling.k8s.io/v1', 'priorityclasses', false)],
  ['ClusterRole', resource('apis/rbac.authorization.k8s.io/v1', 'clusterroles', false)],
  ['ClusterRoleBinding', resource('apis/rbac.authorization.k8s.io/v1', 'clusterrolebindings', false)],
  ['RoleBinding', resource('apis/rbac.authorization.k8s.io/v1', 'rolebindings')],
  ['VolumeSnapshot', resource('apis/snapshot.storage.k8s.io/v1', 'volumesnapshots')],
  ['IngressRoute', resource('apis/traefik.io/v1alpha1', 'ingressroutes')],
  ['Middleware', resource('apis/traefik.io/v1alpha1', 'middlewares')],
]);

export function resourceOf(kind: string): Resource {
  const known = resources.get(kind);
  if (!known) throw new Error(`libs/kubernetes does not know where ${kind} objects are; add it to resources.ts`);
  return known;
}

/** `deployments` → `Deployment`, of those we know. */
export function kindOf(plural: string): string | undefined {
  for (const [kind, resource] of resources) if (resource.plural === plural) return kind;
  return undefined;
}

/** Of one namespace, or without it of all. */
export function collectionPath(kind: string, namespace: string | undefined): string {
  const { api, plural, namespaced } = resourceOf(kind);
  if (namespace === undefined) return `/${api}/${plural}`;
  if (!namespaced) throw new Error(`a ${kind} lives in no namespace`);
  return `/${api}/namespaces/${segment(namespace)}/${plural}`;
}

export function objectPath({ kind, name, namespace }: ObjectRef): string {
  if (resourceOf(kind).namespaced && namespace === undefined) throw new Error(`${kind} ${name} needs its namespace`);
  return `${collectionPath(kind, namespace)}/${segment(name)}`;
}

/** `.` and `..` would lead to another object; no object is called so. */
function segment(name: string): string {
  if (name === '' || name === '.' || name === '..') throw new Error(`${JSON.stringify(name)} is no object's name`);
  return encodeURIComponent(name);
}

export function refOf(object: KubernetesObject): ObjectRef {
  const { kind, metadata } = object;
  if (!kind || !metadata?.name) throw new Error('an object needs a kind and a name');
  return { kind, name: metadata.name, ...(metadata.namespace && { namespace: metadata.namespace }) };
}

/** `namespace/name`, or the name alone where there is no namespace. */
export function keyOf({ name, namespace }: { readonly name?: string; readonly namespace?: string }): string {
  return namespace ? `${namespace}/${name}` : `${name}`;
}

export function describeRef(ref: ObjectRef): string {
  return `${ref.kind} ${keyOf(ref)}`;
}
