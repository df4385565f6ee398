import { Injectable } from '@nestjs/common';
import {
  BackupHoldChanged,
  BackupHoldRefused,
  BackupHoldReleaseRequested,
  BackupHoldRequested,
  type PayloadOf,
} from '#contracts/index.js';
import { type ConsumeContext, MessageHandler } from '#messaging/index.js';
import { refusalOfHold } from '../domain/backup.js';
import { Backups } from './ports.js';

/** A backup is to be kept until somebody says otherwise. */
@Injectable()
export class HoldBackupHandler extends MessageHandler<typeof BackupHoldRequested> {
  constructor(private readonly backups: Backups) {
    super();
  }

  async handle({ backupId, reason }: PayloadOf<typeof BackupHoldRequested>, ctx: ConsumeContext): Promise<void> {
    await setHold(this.backups, ctx, backupId, reason, reason);
  }
}

/** It may go when its time has come. */
@Injectable()
export class ReleaseBackupHandler extends MessageHandler<typeof BackupHoldReleaseRequested> {
  constructor(private readonly backups: Backups) {
    super();
  }

  async handle({ backupId, reason }: PayloadOf<typeof BackupHoldReleaseRequested>, ctx: ConsumeContext): Promise<void> {
    await setHold(this.backups, ctx, backupId, null, reason);
  }
}

async function setHold(
  backups: Backups,
  ctx: ConsumeContext,
  backupId: string,
  held: string | null,
  reason: string,
): Promise<void> {
  // Whoever lets it go has locked it too: it is held, or it goes, and who asks is told which.
  const backup = await backups.lock(ctx, backupId);
  const refusal = refusalOfHold(backup);
  if (!backup || refusal)
    return void (await ctx.publish(BackupHoldRefused, { requestId: ctx.message.id, backupId, ...refusal! }));
  await backups.save(ctx, { ...backup, held });
  const { instanceId } = backup;
  await ctx.publish(BackupHoldChanged, { backupId, instanceId, held: held !== null, reason });
}
