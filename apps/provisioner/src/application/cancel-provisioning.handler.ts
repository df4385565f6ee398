import { Injectable } from '@nestjs/common';
import {
  InstanceProvisioningCancelled,
  InstanceProvisioningCancelRequested,
  type PayloadOf,
} from '#contracts/index.js';
import { type ConsumeContext, MessageHandler } from '#messaging/index.js';
import { JobQueue } from '#persistence/index.js';
import { Footprints } from './ports.js';

/**
 * What is not Ready yet is not wanted any more: it never will be Ready, and what was made of it is removed, also when it
 * began as a spare. Ready is said under the same lock of the footprint's row, so that it is one or the other, for ever.
 */
@Injectable()
export class CancelProvisioningHandler extends MessageHandler<typeof InstanceProvisioningCancelRequested> {
  constructor(
    private readonly footprints: Footprints,
    private readonly jobs: JobQueue,
  ) {
    super();
  }

  async handle(
    { instanceId }: PayloadOf<typeof InstanceProvisioningCancelRequested>,
    ctx: ConsumeContext,
  ): Promise<void> {
    const footprint = await this.footprints.lockOfInstance(ctx, instanceId);
    // That it was placed may come later than this; then it comes again.
    if (!footprint) throw new Error(`instance ${instanceId} is not known here yet`);
    // What became of it was said then.
    if (footprint.state !== 'making' && footprint.state !== 'failed') return;

    const { footprintId } = footprint;
    const { id: approvalId, traceparent, correlationId } = ctx.message;
    const cause = { traceparent: traceparent ?? null, correlationId };
    await this.footprints.save(ctx, { ...footprint, ...cause, state: 'removing', approval: { approvalId } });
    await this.jobs.ask(ctx, { kind: 'footprint', key: footprintId, traceparent });
    await ctx.publish(InstanceProvisioningCancelled, { instanceId, footprintId });
  }
}
