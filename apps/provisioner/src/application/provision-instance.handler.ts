import { Injectable } from '@nestjs/common';
import { InstancePlaced, InstanceProvisioningStarted, type PayloadOf } from '#contracts/index.js';
import { timeSpentAtFirst } from '#footprints/index.js';
import { type ConsumeContext, MessageHandler, TerminalError } from '#messaging/index.js';
import { JobQueue } from '#persistence/index.js';
import { canBeMadeOn } from '../domain/footprint.js';
import { steps } from '../domain/next-action.js';
import { Footprints } from './ports.js';

/**
 * An instance has its place: make its footprint there, or make its own what was kept for it: a spare, or a footprint that
 * was filled.
 */
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
    // The same again, or it was cancelled since.
    if (known && known.instanceId !== null) return;
    if (placed.claim === 'footprint' && !known) throw new Error(`footprint ${footprintId} is not known here yet`);
    if (known && !canBeMadeOn(known, placed.claim))
      throw new TerminalError(`no instance can be made on footprint ${footprintId} as it is`);
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
      residence: known?.residence ?? null,
      snapshotsGone: null,
      startedAt: now,
      ...timeSpentAtFirst(now),
      traceparent: traceparent ?? null,
      correlationId,
    });
    await this.jobs.ask(ctx, { kind: 'footprint', key: footprintId, priority: 'interactive', traceparent });
    await ctx.publish(InstanceProvisioningStarted, { instanceId, footprintId, steps: [...steps] });
  }
}
