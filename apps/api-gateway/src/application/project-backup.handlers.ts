import { Injectable } from '@nestjs/common';
import type {
  BackupCompleted,
  BackupExpired,
  BackupFailed,
  BackupHoldChanged,
  BackupRefused,
  BackupVerified,
  PayloadOf,
} from '#contracts/index.js';
import { type ConsumeContext, MessageHandler } from '#messaging/index.js';
import { BackupViews } from './ports.js';

/** One short handler per fact: each says what the fact lets the read model know. */

@Injectable()
export class ProjectBackupCompletedHandler extends MessageHandler<typeof BackupCompleted> {
  constructor(private readonly backups: BackupViews) {
    super();
  }

  async handle(completed: PayloadOf<typeof BackupCompleted>, ctx: ConsumeContext): Promise<void> {
    const { backupId, instanceId, why, takenAt, template, databaseBytes, filesBytes, files, checksum } = completed;
    const { expiresAt = null } = completed;
    const sizes = { databaseBytes, filesBytes, files };
    await this.backups.merge(ctx, { backupId, instanceId, why, takenAt, template, ...sizes, checksum, expiresAt });
  }
}

@Injectable()
export class ProjectBackupVerifiedHandler extends MessageHandler<typeof BackupVerified> {
  constructor(private readonly backups: BackupViews) {
    super();
  }

  async handle(verified: PayloadOf<typeof BackupVerified>, ctx: ConsumeContext): Promise<void> {
    const { backupId, instanceId, why, verifiedAt, depth, offSite, rows, files } = verified;
    const { filesSeen = null, filesMissing = null, rtoMs = null } = verified;
    await this.backups.merge(ctx, {
      ...{ backupId, instanceId, why, verifiedAt, depth, offSite, filesSeen, filesMissing, rtoMs, rows, files },
      verifiedSequence: ctx.message.sequence ?? 0,
    });
  }
}

@Injectable()
export class ProjectBackupFailedHandler extends MessageHandler<typeof BackupFailed> {
  constructor(private readonly backups: BackupViews) {
    super();
  }

  async handle(failed: PayloadOf<typeof BackupFailed>, ctx: ConsumeContext): Promise<void> {
    const { backupId, instanceId, why, code, message } = failed;
    const failedSequence = ctx.message.sequence ?? 0;
    await this.backups.merge(ctx, { backupId, instanceId, why, code, message, failedSequence });
  }
}

@Injectable()
export class ProjectBackupRefusedHandler extends MessageHandler<typeof BackupRefused> {
  constructor(private readonly backups: BackupViews) {
    super();
  }

  async handle({ backupId, ...refusal }: PayloadOf<typeof BackupRefused>, ctx: ConsumeContext): Promise<void> {
    await this.backups.refuse(ctx, backupId, refusal);
  }
}

@Injectable()
export class ProjectBackupHoldHandler extends MessageHandler<typeof BackupHoldChanged> {
  constructor(private readonly backups: BackupViews) {
    super();
  }

  async handle(changed: PayloadOf<typeof BackupHoldChanged>, ctx: ConsumeContext): Promise<void> {
    const { backupId, instanceId, held, reason } = changed;
    await this.backups.merge(ctx, { backupId, instanceId, held, holdReason: held ? reason : null });
  }
}

@Injectable()
export class ProjectBackupExpiredHandler extends MessageHandler<typeof BackupExpired> {
  constructor(private readonly backups: BackupViews) {
    super();
  }

  async handle(expired: PayloadOf<typeof BackupExpired>, ctx: ConsumeContext): Promise<void> {
    const { backupId, instanceId, why, takenAt, expiredAt } = expired;
    await this.backups.merge(ctx, { backupId, instanceId, why, takenAt, expiredAt, held: false, holdReason: null });
  }
}
