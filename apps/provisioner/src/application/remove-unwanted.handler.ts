import { Injectable } from '@nestjs/common';
import { FootprintRemovalRequested, FootprintRemoved, type PayloadOf } from '#contracts/index.js';
import { type ConsumeContext, MessageHandler, TerminalError } from '#messaging/index.js';
import { JobQueue } from '#persistence/index.js';
import { isSpare } from '../domain/footprint.js';
import { Footprints } from './ports.js';

/** A spare is not wanted any more. What was ever an instance's is not removed this way, whoever asks. */
@Injectable()
export class RemoveSpareHandler extends MessageHandler<typeof FootprintRemovalRequested> {
  constructor(
    private readonly footprints: Footprints,
    private readonly jobs: JobQueue,
  ) {
    super();
  }

  async handle({ footprintId }: PayloadOf<typeof FootprintRemovalRequested>, ctx: ConsumeContext): Promise<void> {
    const spare = await this.footprints.lock(ctx, footprintId);
    // That it was placed may come later than this; then it comes again.
    if (!spare) throw new Error(`footprint ${footprintId} is not known here yet`);
    if (!isSpare(spare)) throw new TerminalError(`footprint ${footprintId} is an instance's: it was left alone`);
    if (spare.state === 'removing') return;
    if (spare.state === 'removed') return void (await ctx.publish(FootprintRemoved, { footprintId, purpose: 'spare' }));
    await this.footprints.save(ctx, { ...spare, state: 'removing' });
    const { traceparent } = ctx.message;
    await this.jobs.ask(ctx, { kind: 'footprint', key: footprintId, priority: 'bulk', traceparent });
  }
}
