/** What was seen of one footprint, on the cluster and on its shard. Only what was really looked at stands here. */
export interface Observed {
  readonly secret: 'absent' | 'present';
  readonly volumeClaim: 'absent' | 'pending' | 'bound' | 'terminating';
  readonly role: 'absent' | 'ours' | 'foreign';
  /**
   * `owned`: everything in it is the tenant's; `personal`: it carries the customer's names too. `empty`, `filling`,
   * `filled`: a backup's, who opens it to the tenant in the end.
   */
  readonly database: 'absent' | 'foreign' | 'copying' | 'owned' | 'personal' | 'empty' | 'filling' | 'filled';
  readonly deployment: 'absent' | 'terminating' | Workload;
  readonly routed: boolean;
  /** Asked only of a workload that is ready. `simulated`: nobody could answer there. */
  readonly site: 'unasked' | 'simulated' | 'answers' | Silence;
}

/** What came in place of the log-in page, in words. */
export interface Silence {
  readonly instead: string;
}

export interface Workload {
  /** The pod that runs now is the one that is wanted, and it is Ready. */
  readonly ready: boolean;
  /** Why Kubernetes cannot make the pod, in its own words. */
  readonly refusal?: { readonly reason: string; readonly message: string };
}

/** The steps a person sees, in their order. */
export const steps = ['secret', 'volume', 'role', 'database', 'tenant', 'workload', 'ready'] as const;
export type Step = (typeof steps)[number];

export type Action =
  | { readonly kind: 'act'; readonly step: Exclude<Step, 'ready'> }
  | Wait
  | { readonly kind: 'fail'; readonly code: string; readonly message: string };

export interface Wait {
  readonly kind: 'wait';
  readonly step: Step;
  readonly reason: string;
  readonly message: string;
  /** No watch will tell when it is over. */
  readonly soon?: true;
}

/**
 * `instance`: a customer's, at its host. `spare`: running on a copy of its template, nobody's, and not to be reached.
 * `empty`: for somebody else to fill, with nothing that runs.
 */
export type Goal = 'instance' | 'spare' | 'empty';

/**
 * The next step towards a running footprint; undefined: it stands. The Secret comes first, because the password lives
 * nowhere else; the volume second, because it is bound while the database is copied; the workload last, when all that
 * it needs is there (a pod that starts before its claim is bound can lose 14 s).
 */
export function nextAction(observed: Observed, goal: Goal = 'instance'): Action | undefined {
  if (observed.role === 'foreign') return foreign('role');
  if (observed.database === 'foreign') return foreign('database');
  if (observed.secret === 'absent') return { kind: 'act', step: 'secret' };
  if (observed.volumeClaim === 'absent') return { kind: 'act', step: 'volume' };
  if (observed.role === 'absent') return { kind: 'act', step: 'role' };
  if (observed.database === 'absent' || observed.database === 'copying') return { kind: 'act', step: 'database' };
  if (observed.volumeClaim === 'terminating')
    return wait('volume', 'VolumeTerminating', 'a volume claim of this name is going away');
  // Its volume is bound where it is filled: some classes wait for the pod that does that.
  if (goal === 'empty') return undefined;
  if (observed.database !== 'owned' && observed.database !== 'personal')
    return wait('database', 'DatabaseNotFilled', 'the backup service has not opened the database to its instance');
  if (observed.database === 'owned' && goal === 'instance') return { kind: 'act', step: 'tenant' };
  if (observed.volumeClaim === 'pending')
    return wait('volume', 'VolumePending', 'the storage class has not bound the volume yet');
  if (observed.deployment === 'terminating')
    return wait('workload', 'DeploymentTerminating', 'a deployment of this name is going away');
  // A claimed spare runs already; what it lacks is its route.
  const unrouted = goal === 'instance' && !observed.routed;
  if (observed.deployment === 'absent' || unrouted) return { kind: 'act', step: 'workload' };
  if (observed.deployment.refusal) {
    const { reason, message } = observed.deployment.refusal;
    return wait('ready', /quota/i.test(message) ? 'CELL_FULL' : reason, message);
  }
  if (!observed.deployment.ready) return wait('ready', 'PodNotReady', 'Odoo is starting');
  // Nobody tells us when a route is taken up: it has to be asked again soon.
  if (typeof observed.site === 'object')
    return { ...wait('ready', 'SiteNotAnswering', observed.site.instead), soon: true };
  return undefined;
}

/**
 * What is known after a step of ours that succeeded, until somebody looks again. Enough to go on with the next step; what
 * others do (bind a volume, start a pod) is never in it, so it is no reason to wait or to be done.
 */
export function afterStep(observed: Observed, step: Exclude<Step, 'ready'>, goal: Goal = 'instance'): Observed {
  switch (step) {
    case 'secret':
      return { ...observed, secret: 'present' };
    case 'volume':
      return { ...observed, volumeClaim: 'pending' };
    case 'role':
      return { ...observed, role: 'ours' };
    case 'database':
      return { ...observed, database: goal === 'empty' ? 'empty' : 'owned' };
    case 'tenant':
      return { ...observed, database: 'personal' };
    case 'workload':
      return { ...observed, deployment: { ready: false }, routed: true };
  }
}

function wait(step: Step, reason: string, message: string): Wait {
  return { kind: 'wait', step, reason, message };
}

function foreign(what: 'role' | 'database'): Action {
  return {
    kind: 'fail',
    code: `FOREIGN_${what.toUpperCase()}`,
    message: `a ${what} of this footprint's name exists on the shard and does not carry our mark; it was left alone`,
  };
}
