import { Injectable } from '@nestjs/common';
import { InstancePurgeApproved, type PayloadOf } from '#contracts/index.js';
import { type ConsumeContext, MessageHandler, TerminalError } from '#messaging/index.js';
import { footprintNames, isDatabaseOf, isSecretOf } from '#odoo/index.js';
import { JobQueue } from '#persistence/index.js';
import { type Footprint, isMadeFor } from '../domain/footprint.js';
import { Footprints, ProvisionerSettings } from './ports.js';

/**
 * Lifecycle has approved that an instance is destroyed. That the message comes from lifecycle's broker user is checked
 * before it gets here (the contract's publisher); here it must be fresh, and mean exactly what we hold.
 */
@Injectable()
export class RemoveFootprintHandler extends MessageHandler<typeof InstancePurgeApproved> {
  constructor(
    private readonly footprints: Footprints,
    private readonly jobs: JobQueue,
    private readonly settings: ProvisionerSettings,
  ) {
    super();
  }

  async handle(approved: PayloadOf<typeof InstancePurgeApproved>, ctx: ConsumeContext): Promise<void> {
    const { footprintId, approvalId, expiresAt, database, secrets } = approved;
    const footprint = await this.footprints.lock(ctx, footprintId);
    if (!footprint) throw new TerminalError(`footprint ${footprintId} is not known here: nothing was removed`);
    if (footprint.state === 'removed') return;
    if (footprint.state === 'removing') return await this.goOnUnder(approved, footprint, ctx);
    if (Date.parse(expiresAt) <= Date.now())
      throw new TerminalError(`approval ${approvalId} was good until ${expiresAt}: ask lifecycle for a new one`);
    // That the instance was switched to it may come later than this; then it comes again.
    if (footprint.instanceId === null && isMadeFor(footprint, approved.instanceId))
      throw new Error(`footprint ${footprintId} is not known here as the one that ${approved.instanceId} lives in`);
    if (footprint.instanceId !== approved.instanceId)
      throw new TerminalError(`footprint ${footprintId} belongs to another instance than ${approved.instanceId}`);
    if (footprint.state === 'ready' && !approved.backupId)
      throw new TerminalError(`footprint ${footprintId} was Ready: it is not removed without a verified backup`);
    this.expectItsOwn(approved);

    // From here on everything is done and said because of the approval.
    const { traceparent, correlationId } = ctx.message;
    const approval = { approvalId, expiresAt, database, secrets, awaitsSnapshots: !approved.neverReady };
    const cause = { traceparent: traceparent ?? null, correlationId };
    await this.footprints.save(ctx, { ...footprint, ...cause, state: 'removing', approval });
    await this.jobs.ask(ctx, { kind: 'footprint', key: footprintId, traceparent });
  }

  /** The approval was given again; the backup service answers the new one, if it has not answered the one before. */
  private async goOnUnder(
    { approvalId, instanceId }: PayloadOf<typeof InstancePurgeApproved>,
    footprint: Footprint,
    ctx: ConsumeContext,
  ): Promise<void> {
    const { approval, snapshotsGone } = footprint;
    if (!approval?.awaitsSnapshots || snapshotsGone === approval.approvalId) return;
    if (footprint.instanceId !== instanceId) return;
    await this.footprints.save(ctx, { ...footprint, approval: { ...approval, approvalId } });
    await this.jobs.ask(ctx, { kind: 'footprint', key: footprint.footprintId });
  }

  /** No approval, however it came to be, reaches beyond its footprint. */
  private expectItsOwn({ footprintId, database, secrets = [] }: PayloadOf<typeof InstancePurgeApproved>): void {
    const names = footprintNames(this.settings.meshName, footprintId);
    if (!isDatabaseOf(names.database, database))
      throw new TerminalError(`database ${database} is not one of footprint ${footprintId}: nothing was removed`);
    const strange = secrets.find((secret) => !isSecretOf(names, secret));
    if (strange)
      throw new TerminalError(`Secret ${strange} is not one of footprint ${footprintId}: nothing was removed`);
  }
}
