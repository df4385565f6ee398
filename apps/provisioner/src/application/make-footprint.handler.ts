import { Injectable } from '@nestjs/common';
import { FootprintPlaced, type PayloadOf } from '#contracts/index.js';
import { timeSpentAtFirst } from '#footprints/index.js';
import { type ConsumeContext, MessageHandler } from '#messaging/index.js';
import { JobQueue } from '#persistence/index.js';
import { Footprints } from './ports.js';

/** The planner wants a running spare: make it, after everything that somebody waits for. */
@Injectable()
export class MakeSpareHandler extends MessageHandler<typeof FootprintPlaced> {
  constructor(
    private readonly footprints: Footprints,
    private readonly jobs: JobQueue,
  ) {
    super();
  }

  async handle(placed: PayloadOf<typeof FootprintPlaced>, ctx: ConsumeContext): Promise<void> {
    const { footprintId } = placed;
    if (await this.footprints.lock(ctx, footprintId)) return;
    const { traceparent, correlationId } = ctx.message;
    const now = new Date();
    await this.footprints.save(ctx, {
      footprintId,
      instanceId: null,
      placed,
      state: 'making',
      epoch: 1,
      timings: {},
      condition: null,
      approval: null,
      startedAt: now,
      ...timeSpentAtFirst(now),
      traceparent: traceparent ?? null,
      correlationId,
    });
    await this.jobs.ask(ctx, { kind: 'footprint', key: footprintId, priority: 'bulk', traceparent });
  }
}
