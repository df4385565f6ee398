import { Injectable } from '@nestjs/common';
import { FootprintPlaced, type PayloadOf } from '#contracts/index.js';
import { timeSpentAtFirst } from '#footprints/index.js';
import { type ConsumeContext, MessageHandler } from '#messaging/index.js';
import { JobQueue } from '#persistence/index.js';
import type { Purpose } from '../domain/footprint.js';
import { Footprints } from './ports.js';

/** A footprint is to be made that is no instance's: a running spare, or one that somebody fills. */
@Injectable()
export class MakeFootprintHandler extends MessageHandler<typeof FootprintPlaced> {
  constructor(
    private readonly footprints: Footprints,
    private readonly jobs: JobQueue,
  ) {
    super();
  }

  async handle(placed: PayloadOf<typeof FootprintPlaced>, ctx: ConsumeContext): Promise<void> {
    const { footprintId, purpose } = placed;
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
      residence: null,
      snapshotsGone: null,
      startedAt: now,
      ...timeSpentAtFirst(now),
      traceparent: traceparent ?? null,
      correlationId,
    });
    const priority = nobodyWaitsFor(purpose) ? 'bulk' : 'interactive';
    await this.jobs.ask(ctx, { kind: 'footprint', key: footprintId, priority, traceparent });
  }
}

/** These are made after everything that a customer waits for. */
function nobodyWaitsFor(purpose: Purpose): boolean {
  return purpose === 'spare' || purpose === 'proof';
}
