import type { V1Container, V1Deployment, V1PodSpec, V1SecurityContext, V1Volume } from '@kubernetes/client-node';
import { type FootprintSpec, objectMetadata, podLabels } from './footprint.js';
import { labelNames } from './names.js';
import { dataDir, filestoreDir, httpPort } from './odoo-conf.js';
import type { Wire } from './wire.js';

/** The image's user; it has a line in the image's passwd, without which Odoo does not start. */
const user = 10001;

/** What Pod Security `restricted` asks of a container, and more. */
export const restricted: Wire<V1SecurityContext> = {
  allowPrivilegeEscalation: false,
  readOnlyRootFilesystem: true,
  capabilities: { drop: ['ALL'] },
};

/** As a real Odoo 18 ran under Pod Security `restricted` (facts: odoo-in-a-pod §3, probes §5). */
export function deploymentManifest(spec: FootprintSpec): Wire<V1Deployment> {
  const { names } = spec;
  return {
    apiVersion: 'apps/v1',
    kind: 'Deployment',
    metadata: objectMetadata(spec, names.object),
    spec: {
      replicas: spec.replicas,
      revisionHistoryLimit: 1,
      // Two Odoo processes of different versions on one database are not safe.
      strategy: { type: 'Recreate' },
      selector: { matchLabels: { [labelNames.footprint]: spec.footprintId } },
      template: {
        metadata: { labels: podLabels(spec) },
        spec: { ...podSpec(spec), initContainers: [filestoreContainer(spec)], containers: [odooContainer(spec)] },
      },
    },
  };
}

/** What all pods of a footprint have, its Jobs too. */
export function podSpec({ meshName, names }: FootprintSpec): Omit<Wire<V1PodSpec>, 'containers'> {
  return {
    ...restrictedPod,
    priorityClassName: `${meshName}-instance`,
    volumes: [
      confVolume(names.secret),
      { name: 'data', persistentVolumeClaim: { claimName: names.object } },
      { name: 'tmp', emptyDir: { sizeLimit: '256Mi' } },
    ],
  };
}

/** A pod that may do nothing, and whose files are Odoo's. */
export const restrictedPod: Omit<Wire<V1PodSpec>, 'containers'> = {
  automountServiceAccountToken: false,
  // Thousands of Services in a namespace would make the environment too long to start anything.
  enableServiceLinks: false,
  terminationGracePeriodSeconds: 15,
  securityContext: {
    runAsNonRoot: true,
    runAsUser: user,
    runAsGroup: user,
    fsGroup: user,
    fsGroupChangePolicy: 'OnRootMismatch',
    seccompProfile: { type: 'RuntimeDefault' },
  },
};

/** Only the file that Odoo reads; 0440 is readable through fsGroup. */
export function confVolume(secretName: string): Wire<V1Volume> {
  return {
    name: 'conf',
    secret: { secretName, defaultMode: 0o440, items: [{ key: 'odoo.conf', path: 'odoo.conf' }] },
  };
}

/**
 * Copies the template's files from the image to the volume, once. To a hidden name first: a copy that is cut off is
 * never taken for a whole one. The names are arguments, not part of the script.
 */
function filestoreContainer({ image, plan, names, templateDatabase }: FootprintSpec): Wire<V1Container> {
  if (!/^[A-Za-z0-9_][A-Za-z0-9._-]{0,62}$/.test(templateDatabase))
    throw new Error(`not the name of a template's database: ${JSON.stringify(templateDatabase)}`);
  return {
    name: 'filestore',
    image,
    imagePullPolicy: 'IfNotPresent',
    command: [
      'sh',
      '-ec',
      '[ -e "$1/$2" ] || { mkdir -p "$1"; rm -rf "$1/.$2"; cp -r "/opt/template/$3" "$1/.$2"; mv "$1/.$2" "$1/$2"; }',
      'sh',
      filestoreDir,
      names.database,
      templateDatabase,
    ],
    securityContext: restricted,
    resources: { requests: plan.requests, limits: plan.limits },
    volumeMounts: [{ name: 'data', mountPath: dataDir }],
  };
}

/** Odoo's image with Odoo's files and rights, whatever runs in it. */
export function containerOf({ image, plan, names }: FootprintSpec, name: string): Wire<V1Container> {
  return {
    name,
    image,
    imagePullPolicy: 'IfNotPresent',
    securityContext: restricted,
    resources: { requests: plan.requests, limits: plan.limits },
    env: [
      // Every Odoo is process 1 of its pod, so all would be called odoo-1 in pg_stat_activity.
      { name: 'ODOO_PGAPPNAME', value: names.object },
      { name: 'PYTHONDONTWRITEBYTECODE', value: '1' },
      { name: 'PYTHONUNBUFFERED', value: '1' },
    ],
    volumeMounts: [
      { name: 'conf', mountPath: '/etc/odoo', readOnly: true },
      { name: 'data', mountPath: dataDir },
      { name: 'tmp', mountPath: '/tmp' },
    ],
  };
}

/** The server, with its probes. */
export function odooContainer(spec: FootprintSpec): Wire<V1Container> {
  return {
    ...containerOf(spec, 'odoo'),
    ports: [{ name: 'http', containerPort: httpPort, protocol: 'TCP' }],
    // The only probe that proves that this database is open; the long time-out waits for the registry once.
    startupProbe: {
      httpGet: { path: '/websocket/health', port: 'http' },
      periodSeconds: 1,
      timeoutSeconds: 60,
      failureThreshold: 90,
    },
    // Stays in rotation while PostgreSQL is down: a page of Odoo's is better than Traefik's 404.
    readinessProbe: {
      httpGet: { path: '/web/health', port: 'http' },
      periodSeconds: 10,
      timeoutSeconds: 5,
      failureThreshold: 3,
    },
    // main, http and cron: the cron thread dies with every restart of PostgreSQL and is not started again.
    livenessProbe: {
      exec: { command: ['sh', '-c', 'set -- /proc/1/task/*; [ $# -ge 3 ]'] },
      periodSeconds: 30,
      timeoutSeconds: 10,
      failureThreshold: 3,
    },
  };
}
