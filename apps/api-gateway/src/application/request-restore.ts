import { Injectable } from '@nestjs/common';
import { type InputOf, newId, RestoreRequested } from '#contracts/index.js';
import { Outbox, type PublishContext } from '#messaging/index.js';
import { sees } from '../domain/access.js';
import { isThere } from '../domain/backup-view.js';
import { type InstanceView, urlBeside } from '../domain/instance-view.js';
import { UnknownInstance } from './act-on-instance.js';
import { Once } from './once.js';
import { Actions, BackupViews, InstanceViews, RestoreViews } from './ports.js';
import { type Asking, UnknownBackup } from './request-backup.js';
import { InstanceExists, SlugTaken } from './request-instance.js';

type Wanted = InputOf<typeof RestoreRequested>;
type Target = NonNullable<Wanted['to']>;

export interface RestoreWish extends Pick<Wanted, 'instanceId' | 'backupId' | 'mode' | 'reason'> {
  /** Of a clone. */
  readonly to?: (Omit<Target, 'instanceId'> & { readonly instanceId?: string | undefined }) | undefined;
}

export interface AcceptedRestore {
  readonly restoreId: string;
  readonly operationId: string;
  readonly instanceId: string;
  readonly to: (Target & { readonly url: string | null }) | null;
}

/** A backup of another instance than the one that is to be restored. */
export class BackupOfAnother extends Error {}
/** It was not made yet, or is gone. */
export class BackupNotThere extends Error {}
/** A clone says whose it is to be, and nothing else does. */
export class TargetMisplaced extends Error {}

/** Asks the backup service for a restore, in the name of a key; what the read model knows against it is said at once. */
@Injectable()
export class RequestRestore {
  constructor(
    private readonly views: InstanceViews,
    private readonly backups: BackupViews,
    private readonly restores: RestoreViews,
    private readonly actions: Actions,
    private readonly outbox: Outbox,
    private readonly once: Once,
  ) {}

  /**
   * Throws UnknownInstance, UnknownBackup, BackupOfAnother, BackupNotThere, TargetMisplaced, SlugTaken, InstanceExists
   * and IdempotencyKeyReused; then nothing is sent. The backup service and the planner have the last word either way.
   */
  async request(wish: RestoreWish, { caller, key, traceparent }: Asking): Promise<AcceptedRestore> {
    const { answer } = await this.outbox.transaction({ traceparent }, (ctx) =>
      this.once.do(ctx, { caller: caller.keyId, key }, { restore: wish }, async () => {
        const view = await this.views.get(wish.instanceId, ctx);
        if (!view || !sees(caller, view.customerId)) throw new UnknownInstance();
        await this.refuseBackup(ctx, wish, view, caller);
        const to = await this.targetOf(wish);
        return await this.ask(ctx, wish, view, to, caller.keyId);
      }),
    );
    return answer;
  }

  private async refuseBackup(
    ctx: PublishContext,
    wish: RestoreWish,
    view: InstanceView,
    caller: Asking['caller'],
  ): Promise<void> {
    const backup = await this.backups.get(wish.backupId, ctx);
    if (!backup) throw new UnknownBackup();
    if (backup.instanceId !== view.instanceId) {
      const owner = await this.views.get(backup.instanceId, ctx);
      // That somebody else has one of this id is nobody's business.
      if (!sees(caller, owner?.customerId ?? null)) throw new UnknownBackup();
      throw new BackupOfAnother(`it is of instance ${backup.instanceId}`);
    }
    if (!isThere(backup)) throw new BackupNotThere(`it is ${backup.state}`);
  }

  private async targetOf({ mode, to }: RestoreWish): Promise<Target | undefined> {
    if ((mode === 'clone') !== (to !== undefined)) throw new TargetMisplaced();
    if (!to) return undefined;
    if (to.instanceId && (await this.views.get(to.instanceId)))
      throw new InstanceExists(`${to.instanceId} is known already`);
    if (await this.views.holderOf(to.slug)) throw new SlugTaken(`${to.slug} belongs to another instance`);
    return { ...to, instanceId: to.instanceId ?? newId() };
  }

  private async ask(
    ctx: PublishContext,
    { backupId, mode, reason }: RestoreWish,
    view: InstanceView,
    to: Target | undefined,
    requestedBy: string,
  ): Promise<AcceptedRestore> {
    const { instanceId } = view;
    const restoreId = newId();
    const restore = { restoreId, instanceId, backupId, mode, reason, requestedBy };
    const operationId = await ctx.publish(RestoreRequested, { ...restore, ...(to && { to }) });
    await this.actions.note(ctx, { operationId, instanceId, action: 'restore' });
    await this.restores.merge(ctx, { ...restore, state: 'requested', to: to ?? null, operationId });
    if (!to) return { restoreId, operationId, instanceId, to: null };
    const { plan, odooVersion } = view;
    await this.views.merge(ctx, { ...to, state: 'requested', plan, odooVersion, operationId });
    return { restoreId, operationId, instanceId, to: { ...to, url: urlBeside(view, to.slug) } };
  }
}
