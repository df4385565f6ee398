import type { Stage } from './operation.js';

/** What was seen of the live footprint on the cluster. Only what was really looked at stands here. */
export interface Seen {
  readonly secret: boolean;
  readonly workload:
    | 'absent'
    | 'terminating'
    | {
        /** The server's word for exactly this object. */
        readonly version: string;
        /** Of whoever applied it last; 0: nobody said. */
        readonly epoch: number;
        readonly replicas: number;
        readonly ready: boolean;
        readonly refusal?: { readonly reason: string; readonly message: string } | undefined;
      };
  /** All that are there, those too that are going away: each may write. */
  readonly pods: number;
  readonly route:
    | 'absent'
    | {
        /** The server's words for exactly this object. */
        readonly uid: string;
        readonly version: string;
        readonly epoch: number;
        readonly to: 'instance' | 'edge';
      };
  /** Asked only when everything else stands. */
  readonly site: 'unasked' | 'simulated' | 'answers' | { readonly instead: string };
}

export type Step =
  | { readonly kind: 'act'; readonly what: 'secret' | 'workload' | 'route' }
  | {
      readonly kind: 'wait';
      readonly reason: string;
      readonly message: string;
      /** No watch will tell when it is over. */
      readonly soon?: true;
    }
  /** Somebody with a later word has been here: nothing is to be done for this one. */
  | { readonly kind: 'overtaken' };

/**
 * The next step of the footprint towards standing still (`down`) or running (`up`), applied under this epoch; undefined:
 * it is so. Going down, nobody is led there any more before the pod ends; coming up, nobody is led there before it is Ready.
 */
export function nextStep(seen: Seen, stage: Extract<Stage, 'up' | 'down'>, epoch: number): Step | undefined {
  const { workload } = seen;
  if (appliedEpoch(seen) > epoch) return { kind: 'overtaken' };
  if (workload === 'terminating') return wait('DeploymentTerminating', 'a deployment of this name is going away');
  return stage === 'down' ? down(seen, epoch) : up(seen, epoch);
}

function down({ workload, route, pods }: Seen, epoch: number): Step | undefined {
  if (route === 'absent' || route.epoch < epoch || route.to !== 'edge') return { kind: 'act', what: 'route' };
  if (workload !== 'absent' && typeof workload === 'object' && (workload.epoch < epoch || workload.replicas !== 0))
    return { kind: 'act', what: 'workload' };
  if (pods > 0) return wait('PodStillThere', 'its pod has not ended yet');
  return undefined;
}

function up({ secret, workload, route, site }: Seen, epoch: number): Step | undefined {
  if (!secret) return { kind: 'act', what: 'secret' };
  if (typeof workload !== 'object' || workload.epoch < epoch || workload.replicas !== 1)
    return { kind: 'act', what: 'workload' };
  if (workload.refusal) {
    const { reason, message } = workload.refusal;
    return wait(/quota/i.test(message) ? 'CELL_FULL' : reason, message);
  }
  if (!workload.ready) return wait('PodNotReady', 'Odoo is starting');
  if (route === 'absent' || route.epoch < epoch || route.to !== 'instance') return { kind: 'act', what: 'route' };
  if (typeof site === 'object') return { ...wait('SiteNotAnswering', site.instead), soon: true };
  return undefined;
}

/** The same towards a route under this epoch that leads there; a site that was asked has to answer. */
export function nextStepOfRoute(seen: Seen, to: 'instance' | 'edge', epoch: number): Step | undefined {
  const { route, site } = seen;
  if (appliedEpoch(seen) > epoch) return { kind: 'overtaken' };
  if (route === 'absent' || route.epoch < epoch || route.to !== to) return { kind: 'act', what: 'route' };
  if (typeof site === 'object') return { ...wait('SiteNotAnswering', site.instead), soon: true };
  return undefined;
}

function appliedEpoch({ workload, route }: Seen): number {
  return Math.max(typeof workload === 'object' ? workload.epoch : 0, typeof route === 'object' ? route.epoch : 0);
}

/**
 * What is known after a step of ours that succeeded, until somebody looks again. What others do because of a workload's
 * change (end a pod, make it Ready) is not in it: enough for the next step, and no reason to be done.
 */
export function afterStep(
  seen: Seen,
  what: Extract<Step, { kind: 'act' }>['what'],
  to: 'instance' | 'edge',
  epoch: number,
): Seen {
  switch (what) {
    case 'secret':
      return { ...seen, secret: true };
    case 'route':
      return { ...seen, route: { uid: '', version: '', epoch, to } };
    case 'workload':
      return { ...seen, workload: { version: '', epoch, replicas: to === 'edge' ? 0 : 1, ready: false } };
  }
}

function wait(reason: string, message: string): Extract<Step, { kind: 'wait' }> {
  return { kind: 'wait', reason, message };
}
