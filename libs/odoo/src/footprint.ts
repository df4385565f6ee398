import type { V1ObjectMeta } from '@kubernetes/client-node';
import {
  customerAnnotation,
  epochAnnotation,
  type FootprintNames,
  labelNames,
  labelValue,
  meshLabels,
} from './names.js';
import type { Plan } from './plans.js';
import type { Entry } from './traefik.js';
import type { Wire } from './wire.js';

/** All that the objects of one footprint depend on. */
export interface FootprintSpec {
  readonly meshName: string;
  readonly names: FootprintNames;
  readonly namespace: string;
  readonly cell: string;
  readonly footprintId: string;
  /** Whose it is; null of a spare, which is nobody's yet. */
  readonly tenant: { readonly instanceId: string; readonly customerId: string; readonly host: string } | null;
  readonly epoch: number;
  readonly plan: Plan;
  readonly entry: Entry;
  readonly image: string;
  /** The template's database, whose files lie in the image under this name. */
  readonly templateDatabase: string;
  readonly storageClass: string;
  readonly replicas: number;
}

/** The pod says only which footprint it is: so a warm spare can be claimed without being restarted. */
export function podLabels(spec: FootprintSpec): Record<string, string> {
  return { app: 'odoo', [labelNames.footprint]: spec.footprintId, [labelNames.cell]: spec.cell };
}

/** Of an instance's objects, and of its running pod. */
export function tenantLabels({ instanceId, customerId }: NonNullable<FootprintSpec['tenant']>): Record<string, string> {
  return { [labelNames.instance]: instanceId, [labelNames.customer]: labelValue(customerId) };
}

/** Of every object of a footprint. */
export function objectMetadata(spec: FootprintSpec, name: string): Wire<V1ObjectMeta> {
  const { tenant } = spec;
  return {
    name,
    namespace: spec.namespace,
    labels: {
      ...podLabels(spec),
      ...(tenant && tenantLabels(tenant)),
      'app.kubernetes.io/name': 'odoo',
      ...meshLabels(spec.meshName),
    },
    annotations: {
      [epochAnnotation]: String(spec.epoch),
      ...(tenant && labelValue(tenant.customerId) !== tenant.customerId && { [customerAnnotation]: tenant.customerId }),
    },
  };
}
