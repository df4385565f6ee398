import {
  type Contract,
  type InputOf,
  InstanceOperationFailed,
  InstanceOperationRefused,
  InstanceQuiesced,
  InstanceReleased,
  InstanceRenamed,
  InstanceResized,
  InstanceRestarted,
  InstanceResumed,
  InstanceStarted,
  type InstanceStateChanged,
  InstanceStopped,
  InstanceSuspended,
  InstanceSwitchedBack,
  InstanceTerminationCancelled,
  InstanceTerminationScheduled,
  InstanceUpgraded,
  InstanceUpgradeFailed,
} from '#contracts/index.js';
import type { Cause, PublishContext } from '#messaging/index.js';
import { footprintNames } from '#odoo/index.js';
import type { Failure } from '../domain/failure.js';
import { hostsOf, type Instance, placeOf, previousFootprintOf } from '../domain/instance.js';
import { desiredOf, type Operation } from '../domain/operation.js';
import type { LifecycleSettings } from './ports.js';

/** What is said for an operation is said because of its request, and within that one's trace. */
export function causeOf({ traceparent, correlationId, operationId }: Operation): Cause {
  return { traceparent: traceparent ?? undefined, correlationId, causationId: operationId };
}

/** The whole state of an instance, so that no hearer needs to ask anybody else. */
export function stateFact(
  meshName: string,
  instance: Instance,
  active: Pick<Operation, 'operationId' | 'kind'> | undefined,
): InputOf<typeof InstanceStateChanged> {
  const { instanceId, state, previous, reason, live, quiesce, since } = instance;
  const names = footprintNames(meshName, live.footprintId, live.secretVersion);
  const previousFootprintId = previousFootprintOf(instance);
  // What has ended has none: they may be somebody else's already.
  const [, ...domains] = state === 'terminated' ? [] : hostsOf(live);
  return {
    instanceId,
    state,
    ...(previous && { previous }),
    reason,
    desired: desiredOf(instance, active?.kind),
    plan: live.plan,
    image: live.image,
    cell: placeOf(instance).cell,
    footprintId: live.footprintId,
    ...(previousFootprintId && { previousFootprintId }),
    database: live.database,
    secret: names.secret,
    volumeClaim: names.object,
    host: live.host,
    ...(domains.length > 0 && { customDomains: domains }),
    ...(quiesce && { quiesce: { purpose: quiesce.purpose, deadline: quiesce.deadline } }),
    ...(active && { operation: { operationId: active.operationId, operation: active.kind } }),
    since: since.toISOString(),
  };
}

/** Its own fact, for who asked for it. `before`: the instance as it was when it began. */
export async function sayDone(
  ctx: PublishContext,
  { meshName, urlOf }: Pick<LifecycleSettings, 'meshName' | 'urlOf'>,
  instance: Instance,
  operation: Operation,
): Promise<void> {
  const { instanceId, live } = instance;
  const { operationId, kind, input, progress } = operation;
  const done = { instanceId, operationId, durationMs: durationOf(operation) };
  const say = <C extends Contract>(contract: C, data: InputOf<C>) => ctx.publish(contract, data);
  switch (kind) {
    case 'start':
      return void (await say(InstanceStarted, done));
    case 'stop':
      return void (await say(InstanceStopped, done));
    case 'restart':
      return void (await say(InstanceRestarted, done));
    case 'suspend':
      return void (await say(InstanceSuspended, { ...done, why: input.why! }));
    case 'resume':
      return void (await say(InstanceResumed, done));
    case 'resize':
      return void (await say(InstanceResized, {
        ...done,
        plan: live.plan,
        previousPlan: progress.before?.plan ?? live.plan,
      }));
    case 'upgrade':
      return void (await say(InstanceUpgraded, {
        ...done,
        image: input.to!,
        previousImage: progress.before?.image ?? live.image,
        rehearsed: input.rehearse ?? false,
        warnings: [...(progress.warnings ?? [])],
        ...preflightOf(progress),
      }));
    case 'rename': {
      const { host } = live;
      const previousHost = progress.before?.host ?? host;
      const [, ...domains] = hostsOf(live);
      const beside = domains.length > 0 ? { customDomains: domains } : {};
      return void (await say(InstanceRenamed, { ...done, host, previousHost, url: urlOf(host), ...beside }));
    }
    case 'quiesce':
    case 'release': {
      const { token, purpose, deadline } = (instance.quiesce ?? progress.held)!;
      const { object: volumeClaim } = footprintNames(meshName, live.footprintId);
      const { footprintId, database } = live;
      const standing = { ...done, token, purpose, deadline, footprintId, database, volumeClaim };
      if (kind === 'quiesce') return void (await say(InstanceQuiesced, standing));
      const how = input.footprintId ? { verified: progress.verified ?? ('not-started' as const) } : {};
      return void (await say(InstanceReleased, { ...standing, expired: input.expired ?? false, ...how }));
    }
    case 'switch-back': {
      const { footprintId } = live;
      const { before, verified } = progress;
      // It was so already: what it was switched from then.
      const previousFootprintId = (before ?? instance.formerFootprints.at(-1)?.live ?? live).footprintId;
      const how = before && { verified: verified ?? ('not-started' as const) };
      return void (await say(InstanceSwitchedBack, { ...done, footprintId, previousFootprintId, ...how }));
    }
    case 'terminate': {
      const { purgeNotBefore, finalBackupId } = instance.termination!;
      return void (await say(InstanceTerminationScheduled, {
        ...done,
        purgeNotBefore,
        ...(finalBackupId && { finalBackupId }),
      }));
    }
    case 'cancel-termination':
      return void (await say(InstanceTerminationCancelled, done));
  }
}

/** It was begun, and is not so. */
export async function sayFailed(ctx: PublishContext, operation: Operation, failure: Failure): Promise<void> {
  const { instanceId, operationId, kind } = operation;
  const durationMs = durationOf(operation);
  if (kind === 'upgrade') {
    const { fellThrough = false, log = '' } = operation.progress;
    const rolledBack = !fellThrough || (operation.input.rehearse ?? false);
    const preflight = preflightOf(operation.progress);
    const failed = { instanceId, operationId, durationMs, ...failure, rolledBack, log, ...preflight };
    return void (await ctx.publish(InstanceUpgradeFailed, failed));
  }
  await ctx.publish(InstanceOperationFailed, { instanceId, operationId, operation: kind, durationMs, ...failure });
}

/** It was not begun: nothing was changed. */
export async function sayRefused(ctx: PublishContext, operation: Operation, refusal: Failure): Promise<void> {
  const { instanceId, operationId, kind } = operation;
  await ctx.publish(InstanceOperationRefused, { instanceId, operationId, operation: kind, ...refusal });
}

function preflightOf({ preflight }: Operation['progress']) {
  return preflight && { preflight: [...preflight] };
}

function durationOf({ startedAt }: Operation): number {
  return startedAt ? Math.max(0, Date.now() - startedAt.getTime()) : 0;
}
