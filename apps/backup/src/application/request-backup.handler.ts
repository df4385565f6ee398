import { Injectable } from '@nestjs/common';
import { BackupRefused, BackupRequested, type PayloadOf } from '#contracts/index.js';
import { type ConsumeContext, MessageHandler } from '#messaging/index.js';
import { refusalByHand } from '../domain/by-hand.js';
import { type Instance, nothingToBackUp, type Refusal } from '../domain/instance.js';
import { policyOf } from '../domain/policy.js';
import { BeginBackup } from './begin-backup.js';
import { Backups, Instances } from './ports.js';

/** Facts about an instance may still be on their way when somebody asks for its backup. */
const hearsayUntilAttempt = 4;

/** An instance is to be backed up now. */
@Injectable()
export class RequestBackupHandler extends MessageHandler<typeof BackupRequested> {
  constructor(
    private readonly instances: Instances,
    private readonly backups: Backups,
    private readonly begin: BeginBackup,
  ) {
    super();
  }

  async handle(asked: PayloadOf<typeof BackupRequested>, ctx: ConsumeContext): Promise<void> {
    const { instanceId, backupId, why, token } = asked;
    const instance = await this.instances.lock(ctx, instanceId);
    const early = ctx.message.attempt < hearsayUntilAttempt;
    const unknown: Refusal = { code: 'UNKNOWN_INSTANCE', fault: 'user', message: 'nobody has heard of this instance' };
    if (await this.backups.get(backupId)) {
      const again = 'a backup of this id was asked for before; each one has its own';
      return await this.refuse(asked, { code: 'ALREADY_ASKED', fault: 'user', message: again }, ctx);
    }
    const refusal = instance ? nothingToBackUp(instance) : unknown;
    if (refusal && early && (!instance || instance.state === null))
      throw new Error(`${instanceId}: ${refusal.message}`);
    if (!instance || refusal) return await this.refuse(asked, refusal ?? unknown, ctx);
    const tooMany = why === 'manual' ? await this.tooMany(instance, ctx) : undefined;
    if (tooMany) return await this.refuse(asked, tooMany, ctx);
    const { id, traceparent, correlationId } = ctx.message;
    const cause = { traceparent: traceparent ?? null, correlationId, requestId: id };
    await this.begin.of(ctx, instance, { backupId, why, token: token ?? null, cause });
  }

  private async tooMany({ instanceId, plan }: Instance, ctx: ConsumeContext): Promise<Refusal | undefined> {
    return refusalByHand(policyOf(plan.name), await this.backups.byHand(ctx, instanceId), new Date());
  }

  private async refuse(
    { instanceId, backupId }: PayloadOf<typeof BackupRequested>,
    refusal: Refusal,
    ctx: ConsumeContext,
  ): Promise<void> {
    await ctx.publish(BackupRefused, { requestId: ctx.message.id, backupId, instanceId, ...refusal });
  }
}
