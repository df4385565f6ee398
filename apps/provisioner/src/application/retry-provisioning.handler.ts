import { Injectable } from '@nestjs/common';
import { InstanceProvisioningStarted, InstanceProvisionRetryRequested, type PayloadOf } from '#contracts/index.js';
import { timeSpentAtFirst } from '#footprints/index.js';
import { type ConsumeContext, MessageHandler, TerminalError } from '#messaging/index.js';
import { JobQueue } from '#persistence/index.js';
import { steps } from '../domain/next-action.js';
import { Footprints } from './ports.js';

/** A provisioning was given up, and somebody has mended what was in its way: take it up where it was. */
@Injectable()
export class RetryProvisioningHandler extends MessageHandler<typeof InstanceProvisionRetryRequested> {
  constructor(
    private readonly footprints: Footprints,
    private readonly jobs: JobQueue,
  ) {
    super();
  }

  async handle({ instanceId }: PayloadOf<typeof InstanceProvisionRetryRequested>, ctx: ConsumeContext): Promise<void> {
    const footprint = await this.footprints.lockOfInstance(ctx, instanceId);
    if (!footprint) throw new TerminalError(`instance ${instanceId} was never placed: there is nothing to take up`);
    if (footprint.state !== 'failed') return;
    const { footprintId } = footprint;
    const now = new Date();
    const anew = { startedAt: now, ...timeSpentAtFirst(now), condition: null };
    await this.footprints.save(ctx, { ...footprint, ...anew, state: 'making' });
    await this.jobs.ask(ctx, {
      kind: 'footprint',
      key: footprintId,
      priority: 'interactive',
      traceparent: ctx.message.traceparent,
    });
    await ctx.publish(InstanceProvisioningStarted, { instanceId, footprintId, steps: [...steps] });
  }
}
