import { Injectable } from '@nestjs/common';
import { BackupHoldReleaseRequested, BackupHoldRequested, BackupRequested, newId } from '#contracts/index.js';
import { Outbox } from '#messaging/index.js';
import { type Caller, sees } from '../domain/access.js';
import { UnknownInstance } from './act-on-instance.js';
import { Once } from './once.js';
import { Actions, BackupViews, InstanceViews } from './ports.js';

export class UnknownBackup extends Error {}

/** Who asks, and how it may be repeated. */
export interface Asking {
  readonly caller: Caller;
  readonly key: string | undefined;
  readonly traceparent: string | undefined;
}

interface AcceptedBackup {
  readonly backupId: string;
  readonly operationId: string;
  readonly instanceId: string;
}

/** Asks the backup service for a backup, or to keep one, in the name of a key. Whether it can be done it decides. */
@Injectable()
export class RequestBackup {
  constructor(
    private readonly views: InstanceViews,
    private readonly backups: BackupViews,
    private readonly actions: Actions,
    private readonly outbox: Outbox,
    private readonly once: Once,
  ) {}

  /** Throws UnknownInstance when there is none for this caller, and IdempotencyKeyReused; then nothing is sent. */
  async request(
    { instanceId: wanted, reason }: { readonly instanceId: string; readonly reason: string | undefined },
    { caller, key, traceparent }: Asking,
  ): Promise<AcceptedBackup> {
    const { answer } = await this.outbox.transaction({ traceparent }, (ctx) =>
      this.once.do(ctx, { caller: caller.keyId, key }, { backUp: wanted, reason }, async () => {
        const view = await this.views.get(wanted, ctx);
        if (!view || !sees(caller, view.customerId)) throw new UnknownInstance();
        const { instanceId } = view;
        const backupId = newId();
        const operationId = await ctx.publish(BackupRequested, { instanceId, backupId, why: 'manual' });
        await this.actions.note(ctx, { operationId, instanceId, action: 'back-up' });
        const asked = { operationId, requestedBy: caller.keyId, reason: reason ?? null };
        await this.backups.merge(ctx, { backupId, instanceId, why: 'manual', ...asked });
        return { backupId, operationId, instanceId };
      }),
    );
    return answer;
  }

  /** Throws UnknownBackup when there is none for this caller, and IdempotencyKeyReused; then nothing is sent. */
  async hold(
    { backupId, hold, reason }: { readonly backupId: string; readonly hold: boolean; readonly reason: string },
    { caller, key, traceparent }: Asking,
  ): Promise<AcceptedBackup> {
    const action = hold ? 'hold-backup' : 'release-backup-hold';
    const { answer } = await this.outbox.transaction({ traceparent }, (ctx) =>
      this.once.do(ctx, { caller: caller.keyId, key }, { action, backupId, reason }, async () => {
        const backup = await this.backups.get(backupId, ctx);
        if (!backup) throw new UnknownBackup();
        const { instanceId } = backup;
        const contract = hold ? BackupHoldRequested : BackupHoldReleaseRequested;
        const operationId = await ctx.publish(contract, { backupId, reason, requestedBy: caller.keyId });
        await this.actions.note(ctx, { operationId, instanceId, action });
        return { backupId: backup.backupId, operationId, instanceId };
      }),
    );
    return answer;
  }
}
