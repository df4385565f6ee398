import type { InstanceState } from '#contracts/index.js';
import type { TimeSpent } from '#footprints/deadline.js';
import { faultOfCustomDomains, findPlan } from '#odoo/index.js';
import type { Failure } from './failure.js';
import {
  domainOf,
  hasHost,
  type Instance,
  isNamed,
  type Live,
  placeOf,
  planOf,
  type Quiesce,
  type SuspensionReason,
} from './instance.js';
import type { Check } from './preflight.js';
import { nextState } from './state-table.js';
import { type ReadyFootprint, refusalOfSwitch, refusalOfSwitchBack } from './switching.js';

/** What can be asked of an instance. Hibernation comes with its own issue. */
export const operationKinds = [
  'start',
  'stop',
  'restart',
  'suspend',
  'resume',
  'resize',
  'upgrade',
  'rename',
  'quiesce',
  'release',
  'switch-back',
  'terminate',
  'cancel-termination',
] as const;
export type OperationKind = (typeof operationKinds)[number];

/** What a request says beyond who wants it and why. */
export interface Input {
  readonly why?: SuspensionReason;
  readonly plan?: string;
  readonly purpose?: string;
  readonly deadline?: string;
  readonly token?: string;
  readonly at?: string;
  /** An image. */
  readonly to?: string;
  readonly modules?: readonly string[];
  readonly rehearse?: boolean;
  /** The first label of a host. */
  readonly slug?: string | undefined;
  /** All that it is to have. */
  readonly customDomains?: readonly string[] | undefined;
  /** To live in from then on. */
  readonly footprintId?: string;
  /** Of a release: nobody asked, its time has run out. */
  readonly expired?: boolean;
}

/** What is done with the footprint, in pieces that each can be waited for. */
export type Stage =
  /** Its host leads to the edge, and its last pod is gone. */
  | 'down'
  /** Its pod is Ready, its host leads there, and it answers. */
  | 'up'
  /** The planner has room for the plan. */
  | 'room'
  /** Secret, connection limit and volume are the plan's. */
  | 'fit'
  /** It lives in another footprint, and nothing leads to the one before. */
  | 'switch'
  /** Nobody who knows the old password can write any more. */
  | 'fence'
  /** There is room for what comes, and a backup was made just before. */
  | 'backup'
  /** What the backup has stands once more in a footprint of its own, neutralised. */
  | 'clone'
  /** There is a second database, the same as the first. */
  | 'copy'
  /** Odoo has updated the copy with the new image, and its pages come. */
  | 'update'
  /** Nothing is left of what did that; of a copy that is not wanted neither. */
  | 'tidy'
  /** The planner holds the new host and domains for it. */
  | 'host'
  /** Odoo itself calls it by the new address. */
  | 'address'
  /** The new host leads where the old one did, and the old one to the edge; its domains lead where the host does. */
  | 'route'
  /** Nothing is made of it any more, or it was Ready before. */
  | 'cancel';

export interface Operation extends TimeSpent {
  /** The id of the message that asked. */
  readonly operationId: string;
  readonly instanceId: string;
  readonly kind: OperationKind;
  readonly input: Input;
  readonly requestedBy: string;
  readonly reason: string;
  readonly acceptedAt: Date;
  /** `merged`: it is answered when the one is that it is the same as. */
  readonly status: 'waiting' | 'active' | 'merged' | 'ended';
  readonly mergedInto: string | null;
  /** Before those that wait longer. */
  readonly urgent: boolean;
  /** Index into its stages. */
  readonly stage: number;
  readonly startedAt: Date | null;
  readonly progress: Progress;
  /** What it waits for. */
  readonly condition: { readonly reason: string; readonly message: string } | null;
  readonly traceparent: string | null;
  readonly correlationId: string;
}

export interface Progress {
  /** The instance was so when it began. */
  readonly from?: InstanceState;
  readonly before?: Live;
  /** Of a release: what it ended. */
  readonly held?: Quiesce;
  /** It is taken back since then. */
  readonly failure?: Failure;
  /** Taking it back failed too. */
  readonly fellThrough?: boolean;
  /** The footprint is at work for this stage under this epoch. */
  readonly epoch?: number;
  /** What was asked of another service for it, and what came. */
  readonly asked?: string;
  /** Unix milliseconds. */
  readonly askedAt?: number;
  readonly answered?: 'yes' | Failure;
  /** Of a rehearsal: the restore that makes its clone, and what came of it. */
  readonly restoreId?: string;
  readonly restored?: Live | Failure;
  /** What is tried in the clone, beside the database that the clone came with. */
  readonly rehearsal?: Live;
  readonly copiedFrom?: string;
  /** Of an upgrade: what room there was for it, before anything was asked for. */
  readonly preflight?: readonly Check[];
  /** Its backup, what the update warned of, and the last lines of what failed. */
  readonly backupId?: string;
  readonly warnings?: readonly string[];
  readonly log?: string;
  /** A copy of the database that is not wanted any more. */
  readonly discarded?: string;
  /** Of a rename: what the planner holds for it, and by which request it holds the domains among it. */
  readonly host?: string;
  readonly reservation?: string;
  /** The footprint that it is switched to, as that was. */
  readonly target?: Live;
  /** It did not come up in this one. */
  readonly tried?: Live;
  /** How it was seen to be up. */
  readonly verified?: 'http' | 'pod-condition';
  /** It was taken down for it. */
  readonly down?: boolean;
}

/** What is to be done for one that has begun, in this order. */
export function stagesOf(
  { kind, input, progress }: Pick<Operation, 'kind' | 'input' | 'progress'>,
  instance: Pick<Instance, 'state' | 'ownerWants' | 'suspension'>,
): readonly Stage[] {
  if (progress.failure) return stagesBack(kind, progress, isToRun(instance, 'cancel-termination'));
  switch (kind) {
    case 'start':
    case 'resume':
      return isToRun(instance, kind) ? ['up'] : [];
    case 'release':
      return [
        ...(input.footprintId ? (['switch'] as const) : []),
        ...(isToRun(instance, kind) ? (['up'] as const) : []),
      ];
    case 'switch-back':
      return ['down', 'fence', 'switch', ...comeBack(progress)];
    case 'cancel-termination':
      // The termination that it overtook may have overtaken a start.
      return isToRun(instance, kind) ? ['up'] : ['down'];
    case 'stop':
    case 'suspend':
      return ['down'];
    case 'restart':
      return ['down', 'up'];
    case 'resize':
      return progress.from === 'running' ? ['room', 'fit', 'up'] : ['room', 'fit'];
    case 'upgrade':
      if (input.rehearse) return ['backup', 'clone', 'copy', 'update', 'tidy'];
      return ['backup', 'down', 'fence', 'copy', 'update', 'tidy', ...comeBack(progress)];
    case 'rename':
      return ['host', 'address', 'route'];
    case 'quiesce':
      return ['down', 'fence'];
    case 'terminate':
      // Nothing is left of what was cancelled. All else is fenced, so that its final backup is the last of it.
      return instance.state === 'purging' ? ['cancel'] : ['cancel', 'down', 'fence'];
  }
}

function comeBack({ from }: Pick<Progress, 'from'>): readonly Stage[] {
  return from === 'running' ? ['up'] : [];
}

/** How one that failed is taken back. What does not become Ready is not left half alive: it stands still, and says so. */
function stagesBack(
  kind: OperationKind,
  { from, before, down, fellThrough, rehearsal }: Progress,
  wasUp: boolean,
): readonly Stage[] {
  if (rehearsal) return fellThrough ? [] : ['tidy'];
  if (fellThrough) return ['down'];
  switch (kind) {
    case 'start':
    case 'restart':
    case 'resume':
    case 'cancel-termination':
      return ['down'];
    case 'release':
      if (!before) return ['down'];
      return wasUp ? ['switch', 'up'] : ['switch'];
    case 'switch-back':
      return before ? ['switch', ...comeBack({ from })] : comeBack({ from });
    case 'resize':
      if (!before) return [];
      return from === 'running' ? ['fit', 'up'] : ['fit'];
    case 'upgrade':
      if (!down) return [];
      return before ? ['tidy', ...comeBack({ from })] : comeBack({ from });
    case 'rename':
      return before ? ['address', 'route'] : [];
    case 'quiesce':
      return comeBack({ from });
    case 'terminate':
      return wasUp ? ['up'] : [];
    case 'stop':
    case 'suspend':
      return [];
  }
}

/** Whether the instance runs when this has come to a good end. */
export function isToRun(
  { state, suspension, ownerWants }: Pick<Instance, 'state' | 'ownerWants' | 'suspension'>,
  kind: OperationKind,
): boolean {
  switch (kind) {
    case 'start':
    case 'restart':
      return true;
    case 'resume':
      return ownerWants === 'running';
    case 'release':
    case 'cancel-termination':
      return !suspension && ownerWants === 'running';
    case 'resize':
      return state === 'running';
    default:
      return false;
  }
}

/** The Odoo version of an image, by its tag; undefined: it does not say. */
export function versionOf(image: string): string | undefined {
  return /:(\d+\.\d+)[^/:]*$/.exec(image)?.[1];
}

/** The state it is on its way to. */
export function desiredOf(instance: Instance, kind: OperationKind | undefined): InstanceState {
  switch (kind) {
    case undefined:
    case 'resize':
    case 'rename':
      return instance.state;
    case 'upgrade':
    case 'switch-back':
      return instance.state === 'maintenance' ? afterMaintenance(instance) : instance.state;
    case 'stop':
      return 'stopped';
    case 'suspend':
      return 'suspended';
    case 'quiesce':
      return 'maintenance';
    case 'terminate':
      return 'terminated';
    default:
      if (isToRun(instance, kind)) return 'running';
      return instance.suspension && kind !== 'resume' ? 'suspended' : 'stopped';
  }
}

function afterMaintenance(instance: Instance): InstanceState {
  return nextState(instance, 'release') ?? instance.state;
}

/** So already: asked for nothing that is not there. */
export function isSo(instance: Instance, { kind, input }: Pick<Operation, 'kind' | 'input'>): boolean {
  const { state, suspension } = instance;
  switch (kind) {
    case 'start':
      return state === 'running';
    case 'stop':
      return state === 'stopped';
    case 'suspend':
      return state === 'suspended' && suspension?.why === input.why;
    case 'resume':
      return state === 'running' || state === 'stopped';
    case 'terminate':
      return state === 'terminating' && input.at === undefined;
    case 'resize':
      return nextState(instance, kind) !== undefined && isOnPlan(instance, input.plan!);
    case 'rename':
      return nextState(instance, kind) !== undefined && asksForNames(input) && isFoundAt(instance.live, input);
    case 'switch-back':
      return nextState(instance, kind) !== undefined && instance.live.footprintId === input.footprintId;
    default:
      return false;
  }
}

/**
 * Why it is not done; undefined: it may begin.
 * @param footprint the one that a release names, as far as anybody has told of it.
 */
export function refusalOf(
  instance: Instance,
  { kind, input }: Pick<Operation, 'kind' | 'input'>,
  now: Date,
  footprint?: ReadyFootprint,
): Failure | undefined {
  const refused = (code: string, message: string): Failure => ({ code, fault: 'user', message });
  const { state, quiesce, live, everReady } = instance;
  if (kind === 'release' && quiesce?.token !== input.token)
    return refused('TOKEN_DEAD', 'nobody holds it by this token, or not any more');
  if (kind === 'release' && input.footprintId) return refusalOfSwitch(instance, input.footprintId, footprint);
  if (kind === 'quiesce' && Date.parse(input.deadline!) <= now.getTime())
    return refused('DEADLINE_PASSED', `its deadline ${input.deadline} has passed`);
  if (kind === 'cancel-termination' && state === 'terminating' && !everReady)
    return refused('NEVER_READY', 'it never was Ready, and what was made of it is being removed');
  if (kind === 'resize') {
    const wanted = findPlan(input.plan!);
    if (!wanted) return refused('UNKNOWN_PLAN', 'there is no such plan');
    if (wanted.storageBytes < planOf(live.plan).storageBytes)
      return refused(
        'STORAGE_CANNOT_SHRINK',
        `plan ${wanted.name} has a smaller volume, and no volume becomes smaller`,
      );
  }
  if (kind === 'upgrade') {
    const [version, now] = [versionOf(input.to!), placeOf(instance).template.version];
    if (version !== now)
      return refused(
        'OTHER_VERSION',
        `${input.to} is ${version ? `Odoo ${version}` : 'of a version that its tag does not say'}, and it runs ${now}`,
      );
  }
  if (kind === 'rename' && !asksForNames(input))
    return refused('NOTHING_ASKED', 'it names neither a slug nor custom domains: say one of them, or both');
  const domains = kind === 'rename' && faultOfCustomDomains(input.customDomains ?? [], domainOf(live));
  if (domains) return refused(domains.code, domains.message);
  if (kind === 'terminate' && state === 'terminating') return undefined;
  if (nextState(instance, kind) === undefined && !isSo(instance, { kind, input }))
    return refused(`IS_${state.toUpperCase()}`, `it is ${state}, and nothing that is so can do ${kind}`);
  return kind === 'switch-back' ? refusalOfSwitchBack(instance, input.footprintId!) : undefined;
}

function asksForNames({ slug, customDomains }: Input): boolean {
  return slug !== undefined || customDomains !== undefined;
}

function isFoundAt({ host, customDomains = [] }: Live, { slug, customDomains: wanted }: Input): boolean {
  const domains = customDomains.map((one) => one.host);
  return (
    (slug === undefined || isNamed(host, slug)) &&
    (wanted === undefined || (wanted.length === domains.length && wanted.every((one) => domains.includes(one))))
  );
}

/** What the planner does not hold for it yet of what a rename asks for; undefined: nothing. */
export function namesToReserve(
  live: Live,
  { slug, customDomains = [] }: Input,
): { readonly slug?: string; readonly customDomains?: string[] } | undefined {
  const domains = customDomains.filter((one) => !hasHost(live, one));
  const another = slug !== undefined && !isNamed(live.host, slug);
  if (!another && domains.length === 0) return undefined;
  return { ...(another && { slug }), ...(domains.length > 0 && { customDomains: domains }) };
}

/** Whether it is by this name, among others, that a rename wants it to be found. */
export function wantsHost({ slug, customDomains = [] }: Input, host: string): boolean {
  return customDomains.includes(host) || (slug !== undefined && isNamed(host, slug));
}

/** Whether it is on the newest version of the plan already. */
export function isOnPlan({ live }: Pick<Instance, 'live'>, plan: string): boolean {
  const wanted = findPlan(plan);
  return wanted !== undefined && wanted.name === live.plan.name && wanted.version === live.plan.version;
}
