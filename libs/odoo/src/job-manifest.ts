import type { V1Container, V1Job, V1PodSpec } from '@kubernetes/client-node';
import { containerOf, odooContainer, podSpec } from './deployment-manifest.js';
import { type FootprintSpec, objectMetadata } from './footprint.js';
import { labelNames } from './names.js';
import type { Wire } from './wire.js';

export interface JobWork {
  /** Of the Job, in the footprint's namespace. */
  readonly name: string;
  /** In place of the image's own entry point. */
  readonly command?: readonly string[];
  readonly args?: readonly string[];
  /** Odoo serves on port 8069 of the pod's loopback meanwhile. */
  readonly besideOdoo?: boolean;
}

/**
 * Something that is done once with a footprint's database and files while nothing else uses them: an installation, an
 * upgrade. Never tried again by itself: who asked for it looks at the end and decides.
 */
export function jobManifest(spec: FootprintSpec, { name, command, args, besideOdoo = false }: JobWork): Wire<V1Job> {
  const work = containerOf(spec, 'work');
  const main: Wire<V1Container> = { ...work, ...(command && { command }), ...(args && { args }) };
  const { readinessProbe: _, ...odoo } = odooContainer(spec);
  return jobOf(spec, name, {
    // A sidecar in Kubernetes' sense: started first, and ended when the work is.
    ...(besideOdoo && { initContainers: [{ ...odoo, restartPolicy: 'Always' }] }),
    containers: [main],
  });
}

/** These containers, once, with all that pods of a footprint have. */
export function jobOf(
  spec: FootprintSpec,
  name: string,
  containers: Pick<Wire<V1PodSpec>, 'containers' | 'initContainers'>,
): Wire<V1Job> {
  return {
    apiVersion: 'batch/v1',
    kind: 'Job',
    metadata: objectMetadata(spec, name),
    spec: {
      backoffLimit: 0,
      template: {
        // Not the labels of the instance's pod: no Service leads here, and other things are allowed.
        metadata: {
          labels: { app: 'odoo-job', [labelNames.footprint]: spec.footprintId, [labelNames.cell]: spec.cell },
        },
        spec: { ...podSpec(spec), restartPolicy: 'Never', ...containers },
      },
    },
  };
}
