import { Injectable } from '@nestjs/common';
import { InstancePlaced, InstanceProvisioningStarted, type PayloadOf } from '#contracts/index.js';
import { timeSpentAtFirst } from '#footprints/index.js';
import { type ConsumeContext, MessageHandler } from '#messaging/index.js';
import { JobQueue } from '#persistence/index.js';
import { isSpare } from '../domain/footprint.js';
import { steps } from '../domain/next-action.js';
import { Footprints } from './ports.js';

/** An instance has its place: make its footprint there, or make the spare its own that was kept for it. */
@Injectable()
export class ProvisionInstanceHandler extends MessageHandler<typeof InstancePlaced> {
  constructor(
    private readonly footprints: Footprints,
    private readonly jobs: JobQueue,
  ) {
    super();
  }

  async handle(placed: PayloadOf<typeof InstancePlaced>, ctx: ConsumeContext): Promise<void> {
    const { footprintId, instanceId } = placed;
    const known = await this.footprints.lock(ctx, footprintId);
    if (known && !isSpare(known)) return;
    const { traceparent, correlationId } = ctx.message;
    const now = new Date();
    await this.footprints.save(ctx, {
      footprintId,
      instanceId,
      placed,
      state: 'making',
      epoch: known?.epoch ?? 1,
      timings: {},
      condition: null,
      approval: null,
      startedAt: now,
      ...timeSpentAtFirst(now),
      traceparent: traceparent ?? null,
      correlationId,
    });
    await this.jobs.ask(ctx, { kind: 'footprint', key: footprintId, priority: 'interactive', traceparent });
    await ctx.publish(InstanceProvisioningStarted, { instanceId, footprintId, steps: [...steps] });
  }
}
