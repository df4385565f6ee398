import { Injectable } from '@nestjs/common';
import type {
  PayloadOf,
  RestoreCompleted,
  RestoreFailed,
  RestoreProgressed,
  RestoreRefused,
} from '#contracts/index.js';
import { type ConsumeContext, MessageHandler } from '#messaging/index.js';
import { InstanceViews, RestoreViews } from './ports.js';

/** One short handler per fact: each says what the fact lets the read model know. */

@Injectable()
export class ProjectRestoreProgressHandler extends MessageHandler<typeof RestoreProgressed> {
  constructor(private readonly restores: RestoreViews) {
    super();
  }

  async handle(progress: PayloadOf<typeof RestoreProgressed>, ctx: ConsumeContext): Promise<void> {
    const { restoreId, instanceId, backupId, mode, step, steps, message } = progress;
    await this.restores.merge(ctx, {
      ...{ restoreId, instanceId, backupId, mode, state: 'running', step, steps, message, code: null, endedAt: null },
      stepSince: saidAt(ctx),
    });
  }
}

@Injectable()
export class ProjectRestoreCompletedHandler extends MessageHandler<typeof RestoreCompleted> {
  constructor(private readonly restores: RestoreViews) {
    super();
  }

  async handle(completed: PayloadOf<typeof RestoreCompleted>, ctx: ConsumeContext): Promise<void> {
    const { restoreId, instanceId, backupId, mode, footprintId, durationMs, rows, files } = completed;
    const { to = null, safetyBackupId = null } = completed;
    const measured = { durationMs, rows, files };
    await this.restores.merge(ctx, {
      ...{ restoreId, instanceId, backupId, mode, to, footprintId, safetyBackupId, ...measured },
      ...{ state: 'completed', message: null, code: null, endedAt: saidAt(ctx) },
    });
  }
}

@Injectable()
export class ProjectRestoreFailedHandler extends MessageHandler<typeof RestoreFailed> {
  constructor(
    private readonly restores: RestoreViews,
    private readonly views: InstanceViews,
  ) {
    super();
  }

  async handle(failed: PayloadOf<typeof RestoreFailed>, ctx: ConsumeContext): Promise<void> {
    const { restoreId, instanceId, backupId, mode, code, message } = failed;
    const ended = { state: 'failed', code, message, endedAt: saidAt(ctx) } as const;
    await this.restores.merge(ctx, { restoreId, instanceId, backupId, mode, ...ended });
    const { to } = (await this.restores.get(restoreId, ctx))!;
    // What was to be made of it is not made.
    if (to) await this.views.merge(ctx, { instanceId: to.instanceId, state: 'refused', reason: code, message });
  }
}

@Injectable()
export class ProjectRestoreRefusedHandler extends MessageHandler<typeof RestoreRefused> {
  constructor(
    private readonly restores: RestoreViews,
    private readonly views: InstanceViews,
  ) {
    super();
  }

  async handle({ restoreId, ...refusal }: PayloadOf<typeof RestoreRefused>, ctx: ConsumeContext): Promise<void> {
    const refused = await this.restores.refuse(ctx, restoreId, refusal);
    if (!refused?.to) return;
    const { code, message } = refusal;
    await this.views.merge(ctx, { instanceId: refused.to.instanceId, state: 'refused', reason: code, message });
  }
}

function saidAt({ message }: ConsumeContext): string {
  return message.time ?? new Date().toISOString();
}
