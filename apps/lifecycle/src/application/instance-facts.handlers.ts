import { Injectable } from '@nestjs/common';
import {
  BackupCompleted,
  BackupFailed,
  BackupRefused,
  BackupVerified,
  InstancePlaced,
  InstanceProvisioningCancelled,
  InstanceProvisioningFailed,
  InstanceProvisioningStarted,
  InstanceReady,
  InstanceTerminated,
  type PayloadOf,
  PlacementChanged,
  PlacementChangeRefused,
} from '#contracts/index.js';
import { type ConsumeContext, MessageHandler } from '#messaging/index.js';
import { footprintNames } from '#odoo/index.js';
import { JobQueue } from '#persistence/index.js';
import type { Failure } from '../domain/failure.js';
import { type Instance, newborn } from '../domain/instance.js';
import { moved } from '../domain/moving.js';
import { EndOperation } from './end-operation.js';
import { Instances, LifecycleSettings, Operations } from './ports.js';

/** One short handler per fact: each says what it changes about an instance. */

/** After a final backup failed. */
const backupAgainMs = 60_000;

/** Facts of two services come in any order: who is told of an instance before it was placed tries again. */
async function placed(instances: Instances, ctx: ConsumeContext, instanceId: string): Promise<Instance> {
  const instance = await instances.lock(ctx, instanceId);
  if (!instance) throw new Error(`instance ${instanceId} is not known yet`);
  return instance;
}

@Injectable()
export class BearHandler extends MessageHandler<typeof InstancePlaced> {
  constructor(
    private readonly instances: Instances,
    private readonly end: EndOperation,
    private readonly jobs: JobQueue,
    private readonly settings: LifecycleSettings,
  ) {
    super();
  }

  async handle(fact: PayloadOf<typeof InstancePlaced>, ctx: ConsumeContext): Promise<void> {
    const { instanceId, footprintId } = fact;
    if (await this.instances.lock(ctx, instanceId)) return;
    const { traceparent, correlationId } = ctx.message;
    const { database } = footprintNames(this.settings.meshName, footprintId);
    const cause = { traceparent: traceparent ?? null, correlationId };
    const instance = newborn(fact, new Date(), cause, { database });
    await this.instances.save(ctx, instance);
    await this.end.tellState(ctx, instance);
    // Somebody may have asked something of it before.
    await this.jobs.ask(ctx, { kind: 'instance', key: instanceId, traceparent });
  }
}

@Injectable()
export class BecomeReadyHandler extends MessageHandler<typeof InstanceReady> {
  constructor(
    private readonly instances: Instances,
    private readonly end: EndOperation,
    private readonly jobs: JobQueue,
  ) {
    super();
  }

  async handle({ instanceId }: PayloadOf<typeof InstanceReady>, ctx: ConsumeContext): Promise<void> {
    const instance = await placed(this.instances, ctx, instanceId);
    if (instance.everReady || instance.state === 'terminated') return;
    const ready = moved({ ...instance, everReady: true }, 'ready', 'ready');
    await this.instances.save(ctx, ready);
    if (ready.state !== instance.state) await this.end.tellState(ctx, ready);
    const { traceparent } = ctx.message;
    await this.jobs.ask(ctx, { kind: 'instance', key: instanceId, priority: 'interactive', traceparent });
  }
}

@Injectable()
export class BeGivenUpHandler extends MessageHandler<typeof InstanceProvisioningFailed> {
  constructor(
    private readonly instances: Instances,
    private readonly end: EndOperation,
    private readonly jobs: JobQueue,
  ) {
    super();
  }

  async handle({ instanceId, code }: PayloadOf<typeof InstanceProvisioningFailed>, ctx: ConsumeContext): Promise<void> {
    const instance = await placed(this.instances, ctx, instanceId);
    const failed = moved(instance, 'given up', code);
    if (failed.state === instance.state) return;
    await this.instances.save(ctx, failed);
    await this.end.tellState(ctx, failed);
    await this.jobs.ask(ctx, { kind: 'instance', key: instanceId });
  }
}

@Injectable()
export class BeTakenUpAgainHandler extends MessageHandler<typeof InstanceProvisioningStarted> {
  constructor(
    private readonly instances: Instances,
    private readonly end: EndOperation,
  ) {
    super();
  }

  async handle({ instanceId }: PayloadOf<typeof InstanceProvisioningStarted>, ctx: ConsumeContext): Promise<void> {
    const instance = await placed(this.instances, ctx, instanceId);
    const again = moved(instance, 'taken up again', 'requested');
    if (again.state === instance.state) return;
    await this.instances.save(ctx, again);
    await this.end.tellState(ctx, again);
  }
}

@Injectable()
export class BeCancelledHandler extends MessageHandler<typeof InstanceProvisioningCancelled> {
  constructor(
    private readonly instances: Instances,
    private readonly end: EndOperation,
    private readonly jobs: JobQueue,
  ) {
    super();
  }

  async handle({ instanceId }: PayloadOf<typeof InstanceProvisioningCancelled>, ctx: ConsumeContext): Promise<void> {
    const instance = await placed(this.instances, ctx, instanceId);
    const cancelled = moved(instance, 'cancelled', 'cancelled');
    if (cancelled.state === instance.state) return;
    const termination = { ...cancelled.termination!, purgeNotBefore: new Date().toISOString() };
    await this.instances.save(ctx, { ...cancelled, termination });
    await this.end.tellState(ctx, cancelled);
    const { traceparent } = ctx.message;
    await this.jobs.ask(ctx, { kind: 'instance', key: instanceId, priority: 'interactive', traceparent });
  }
}

/** Nothing is left of it. */
@Injectable()
export class EndHandler extends MessageHandler<typeof InstanceTerminated> {
  constructor(
    private readonly instances: Instances,
    private readonly operations: Operations,
    private readonly end: EndOperation,
    private readonly jobs: JobQueue,
  ) {
    super();
  }

  async handle({ instanceId }: PayloadOf<typeof InstanceTerminated>, ctx: ConsumeContext): Promise<void> {
    const instance = await placed(this.instances, ctx, instanceId);
    if (instance.state === 'terminated') return;
    const ended = moved(instance, 'removed', 'purged');
    await this.instances.save(ctx, ended);
    await this.end.tellState(ctx, ended);
    const gone: Failure = { code: 'IS_TERMINATED', fault: 'user', message: 'nothing is left of it' };
    for (const one of await this.operations.open(ctx, instanceId)) {
      // It was quicker gone than its end was said to have begun.
      if (one.kind === 'terminate' && ended.termination) await this.end.alreadySo(ctx, ended, one);
      else await this.end.refused(ctx, one, gone);
    }
    // Of an instance that was destroyed by somebody else's approval something may be left elsewhere.
    if (ended.formerFootprints.length > 0) await this.jobs.ask(ctx, { kind: 'instance', key: instanceId });
  }
}

@Injectable()
export class HearOfRoomHandler extends MessageHandler<typeof PlacementChanged> {
  constructor(
    private readonly operations: Operations,
    private readonly instances: Instances,
    private readonly jobs: JobQueue,
  ) {
    super();
  }

  async handle({ instanceId, plan }: PayloadOf<typeof PlacementChanged>, ctx: ConsumeContext): Promise<void> {
    await placed(this.instances, ctx, instanceId);
    await answer(this.operations, this.jobs, ctx, instanceId, 'yes', (wanted) => wanted === plan.name);
  }
}

@Injectable()
export class HearOfNoRoomHandler extends MessageHandler<typeof PlacementChangeRefused> {
  constructor(
    private readonly operations: Operations,
    private readonly instances: Instances,
    private readonly jobs: JobQueue,
  ) {
    super();
  }

  async handle(refused: PayloadOf<typeof PlacementChangeRefused>, ctx: ConsumeContext): Promise<void> {
    const { instanceId, code, fault, message } = refused;
    await placed(this.instances, ctx, instanceId);
    await answer(this.operations, this.jobs, ctx, instanceId, { code, fault, message }, () => true);
  }
}

/** To the resize under way that has asked. */
async function answer(
  operations: Operations,
  jobs: JobQueue,
  ctx: ConsumeContext,
  instanceId: string,
  answered: 'yes' | Failure,
  fits: (plan: string) => boolean,
): Promise<void> {
  const active = (await operations.open(ctx, instanceId)).find((one) => one.status === 'active');
  const { asked, answered: before } = active?.progress ?? {};
  if (active?.kind !== 'resize' || !asked || before || !fits(active.input.plan!)) return;
  await operations.save(ctx, { ...active, progress: { ...active.progress, answered } });
  await jobs.ask(ctx, { kind: 'instance', key: instanceId, priority: 'interactive' });
}

/** The backup before an upgrade is there. */
@Injectable()
export class HearOfBackupHandler extends MessageHandler<typeof BackupCompleted> {
  constructor(
    private readonly operations: Operations,
    private readonly instances: Instances,
    private readonly jobs: JobQueue,
  ) {
    super();
  }

  async handle({ instanceId, backupId }: PayloadOf<typeof BackupCompleted>, ctx: ConsumeContext): Promise<void> {
    if (!(await this.instances.lock(ctx, instanceId))) return;
    await answerBackup(this.operations, this.jobs, ctx, { instanceId, backupId, answered: 'yes' });
  }
}

async function answerBackup(
  operations: Operations,
  jobs: JobQueue,
  ctx: ConsumeContext,
  { instanceId, backupId, answered }: { instanceId: string; backupId: string; answered: 'yes' | Failure },
): Promise<void> {
  const active = (await operations.open(ctx, instanceId)).find((one) => one.status === 'active');
  if (active?.progress.backupId !== backupId || active.progress.answered) return;
  await operations.save(ctx, { ...active, progress: { ...active.progress, answered } });
  await jobs.ask(ctx, { kind: 'instance', key: instanceId, priority: 'interactive' });
}

/** Only a backup that was restored and read back from off-site lets its instance be destroyed. */
@Injectable()
export class TrustBackupHandler extends MessageHandler<typeof BackupVerified> {
  constructor(
    private readonly instances: Instances,
    private readonly jobs: JobQueue,
  ) {
    super();
  }

  async handle(verified: PayloadOf<typeof BackupVerified>, ctx: ConsumeContext): Promise<void> {
    const { instanceId, backupId, depth, offSite } = verified;
    if (depth !== 'full' || !offSite) return;
    const instance = await this.instances.lock(ctx, instanceId);
    const { termination } = instance ?? {};
    if (!instance || termination?.finalBackupId !== backupId) return;
    const trusted = { ...instance, termination: { ...termination, verifiedBackupId: backupId } };
    const graced = instance.state === 'terminating' ? { reason: 'grace' } : {};
    await this.instances.save(ctx, { ...trusted, ...graced });
    await this.jobs.ask(ctx, { kind: 'instance', key: instanceId });
  }
}

/** A final backup that is not good is made again; an upgrade without its backup does not go on. */
@Injectable()
export class DistrustBackupHandler extends MessageHandler<typeof BackupFailed> {
  constructor(
    private readonly instances: Instances,
    private readonly operations: Operations,
    private readonly jobs: JobQueue,
  ) {
    super();
  }

  async handle(failed: PayloadOf<typeof BackupFailed>, ctx: ConsumeContext): Promise<void> {
    await goWithoutBackup(this.instances, this.operations, this.jobs, ctx, failed, 'BACKUP_FAILED');
  }
}

/** A backup that is not begun is as little there as one that failed. */
@Injectable()
export class HearOfNoBackupHandler extends MessageHandler<typeof BackupRefused> {
  constructor(
    private readonly instances: Instances,
    private readonly operations: Operations,
    private readonly jobs: JobQueue,
  ) {
    super();
  }

  async handle(refused: PayloadOf<typeof BackupRefused>, ctx: ConsumeContext): Promise<void> {
    await goWithoutBackup(this.instances, this.operations, this.jobs, ctx, refused, 'BACKUP_REFUSED');
  }
}

async function goWithoutBackup(
  instances: Instances,
  operations: Operations,
  jobs: JobQueue,
  ctx: ConsumeContext,
  { instanceId, backupId, code, fault, message }: PayloadOf<typeof BackupFailed> | PayloadOf<typeof BackupRefused>,
  what: 'BACKUP_FAILED' | 'BACKUP_REFUSED',
): Promise<void> {
  const instance = await instances.lock(ctx, instanceId);
  const answered = { code: what, fault, message: `${code}: ${message}` };
  await answerBackup(operations, jobs, ctx, { instanceId, backupId, answered });
  const { termination } = instance ?? {};
  if (instance?.state !== 'terminating' || termination?.finalBackupId !== backupId) return;
  const anew = { ...termination, finalBackupId: null, verifiedBackupId: null };
  await instances.save(ctx, { ...instance, reason: 'waits-for-final-backup', termination: anew });
  await jobs.ask(ctx, { kind: 'instance', key: instanceId, inMs: backupAgainMs });
}
