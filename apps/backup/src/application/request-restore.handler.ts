import { Injectable } from '@nestjs/common';
import { type PayloadOf, RestoreRefused, RestoreRequested } from '#contracts/index.js';
import { type ConsumeContext, MessageHandler } from '#messaging/index.js';
import type { Refusal } from '../domain/instance.js';
import { isNewerThan, refusalOf } from '../domain/restore.js';
import { BeginBackup } from './begin-backup.js';
import { BeginRestore } from './begin-restore.js';
import { Backups, Instances, Restores } from './ports.js';

/** An instance is to be as a backup has it, or another one is to be made of that. */
@Injectable()
export class RequestRestoreHandler extends MessageHandler<typeof RestoreRequested> {
  constructor(
    private readonly instances: Instances,
    private readonly backups: Backups,
    private readonly restores: Restores,
    private readonly sources: BeginBackup,
    private readonly begin: BeginRestore,
  ) {
    super();
  }

  async handle(asked: PayloadOf<typeof RestoreRequested>, ctx: ConsumeContext): Promise<void> {
    const { restoreId, instanceId, backupId, mode, to = null, requestedBy, reason } = asked;
    const refusal = await this.refusal(asked, ctx);
    const { id, source, traceparent, correlationId } = ctx.message;
    if (refusal) return void (await ctx.publish(RestoreRefused, { requestId: id, restoreId, instanceId, ...refusal }));
    await this.begin.of(ctx, {
      ...{ restoreId, instanceId, backupId, mode, to, requestedBy: requestedBy ?? source, reason },
      cause: { traceparent: traceparent ?? null, correlationId, requestId: id },
    });
  }

  private async refusal(asked: PayloadOf<typeof RestoreRequested>, ctx: ConsumeContext): Promise<Refusal | undefined> {
    const { restoreId, instanceId, backupId, mode, to = null } = asked;
    const no = (code: string, message: string): Refusal => ({ code, fault: 'user', message });
    const instance = await this.instances.lock(ctx, instanceId);
    const backup = await this.backups.lock(ctx, backupId);
    if (await this.restores.get(restoreId))
      return no('ALREADY_ASKED', 'a restore of this id was asked for before; each one has its own');
    const refused = refusalOf({ instanceId, mode, to }, backup, instance);
    if (refused || mode === 'clone') return refused;
    if (!instance?.live) return no('NOT_READY', 'the instance was never Ready; clone the backup');
    const { template } = await this.sources.sourceOf(instance);
    if (isNewerThan(backup!.source.template.version, template.version))
      return no(
        'NEWER_THAN_ODOO',
        `that backup is of Odoo ${backup!.source.template.version}, and the instance runs ${template.version}`,
      );
    const open = await this.restores.lockOpenOf(ctx, instanceId);
    if (open.some((one) => one.mode !== 'proof' && one.mode !== 'clone'))
      return no('RESTORE_RUNS', 'it is being restored already; wait until that has ended');
    return undefined;
  }
}
