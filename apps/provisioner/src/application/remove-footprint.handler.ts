import { Injectable } from '@nestjs/common';
import { InstancePurgeApproved, type PayloadOf } from '#contracts/index.js';
import { type ConsumeContext, MessageHandler, TerminalError } from '#messaging/index.js';
import { footprintNames, isDatabaseOf, isSecretOf } from '#odoo/index.js';
import { JobQueue } from '#persistence/index.js';
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
    if (footprint.state === 'removing' || footprint.state === 'removed') return;
    if (Date.parse(expiresAt) <= Date.now())
      throw new TerminalError(`approval ${approvalId} was good until ${expiresAt}: ask lifecycle for a new one`);
    if (footprint.instanceId !== approved.instanceId)
      throw new TerminalError(`footprint ${footprintId} belongs to another instance than ${approved.instanceId}`);
    if (footprint.state === 'ready' && !approved.backupId)
      throw new TerminalError(`footprint ${footprintId} was Ready: it is not removed without a verified backup`);
    this.expectItsOwn(approved);

    // From here on everything is done and said because of the approval.
    const { traceparent, correlationId } = ctx.message;
    const approval = { approvalId, expiresAt, database, secrets };
    const cause = { traceparent: traceparent ?? null, correlationId };
    await this.footprints.save(ctx, { ...footprint, ...cause, state: 'removing', approval });
    await this.jobs.ask(ctx, { kind: 'footprint', key: footprintId, traceparent });
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
