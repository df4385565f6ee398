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
  readonly instanceId: string;
  readonly customerId: string;
  readonly epoch: number;
  readonly plan: Plan;
  readonly host: string;
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

/** Of every object of a footprint. */
export function objectMetadata(spec: FootprintSpec, name: string): Wire<V1ObjectMeta> {
  const customer = labelValue(spec.customerId);
  return {
    name,
    namespace: spec.namespace,
    labels: {
      ...podLabels(spec),
      [labelNames.instance]: spec.instanceId,
      [labelNames.customer]: customer,
      'app.kubernetes.io/name': 'odoo',
      ...meshLabels(spec.meshName),
    },
    annotations: {
      [epochAnnotation]: String(spec.epoch),
      ...(customer !== spec.customerId && { [customerAnnotation]: spec.customerId }),
    },
  };
}
