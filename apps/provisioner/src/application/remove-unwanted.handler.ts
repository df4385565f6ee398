import { Injectable } from '@nestjs/common';
import {
  FootprintRemovalRefused,
  FootprintRemovalRequested,
  FootprintRemoved,
  type PayloadOf,
} from '#contracts/index.js';
import { type ConsumeContext, MessageHandler } from '#messaging/index.js';
import { JobQueue } from '#persistence/index.js';
import { type Footprint, removedAs } from '../domain/footprint.js';
import { removalOn } from '../domain/removal-request.js';
import { Footprints } from './ports.js';

/** A footprint that no instance lives in is not wanted any more. What one lives in is not removed this way, whoever asks. */
@Injectable()
export class RemoveUnwantedHandler extends MessageHandler<typeof FootprintRemovalRequested> {
  constructor(
    private readonly footprints: Footprints,
    private readonly jobs: JobQueue,
  ) {
    super();
  }

  async handle({ footprintId }: PayloadOf<typeof FootprintRemovalRequested>, ctx: ConsumeContext): Promise<void> {
    const { id: requestId, publishedBy, traceparent } = ctx.message;
    const footprint = await this.footprints.lock(ctx, footprintId);
    // That it was placed may come later than this; then it comes again.
    if (!footprint) throw new Error(`footprint ${footprintId} is not known here yet`);
    if (footprint.state === 'removed')
      return void (await ctx.publish(FootprintRemoved, { footprintId, purpose: removedAs(footprint) }));
    if (footprint.state === 'removing') return await this.remove(ctx, footprint, requestId);

    const verdict = removalOn(publishedBy, footprint);
    if (verdict.kind === 'unknown') throw new Error(`footprint ${footprintId} is left alone for now: ${verdict.why}`);
    if (verdict.kind === 'refuse') {
      const { code, message } = verdict;
      return void (await ctx.publish(FootprintRemovalRefused, {
        requestId,
        footprintId,
        code,
        fault: 'platform',
        message: `${message}: it was left alone`,
      }));
    }
    await this.remove(ctx, footprint, requestId);
    await this.jobs.ask(ctx, { kind: 'footprint', key: footprintId, priority: 'bulk', traceparent });
  }

  /** Who asks is answered when nothing is left of it. */
  private async remove(ctx: ConsumeContext, footprint: Footprint, requestId: string): Promise<void> {
    const { approval, state } = footprint;
    const requests = [...new Set([...(approval?.requests ?? []), requestId])];
    // What follows is done and said because of who asked first.
    const { traceparent, correlationId } = ctx.message;
    const cause = state === 'removing' ? {} : { traceparent: traceparent ?? null, correlationId };
    const removing = { ...footprint, ...cause, state: 'removing', approval: { ...approval, requests } } as const;
    await this.footprints.save(ctx, removing);
  }
}
