import { Injectable } from '@nestjs/common';
import { Outbox } from '#messaging/index.js';
import type { Lease, Outcome } from '#persistence/index.js';
import { lookAgainMs, PlacingService } from './placing.js';
import { Placements } from './ports.js';

const atOnce = 200;

/** Gives places to those who wait, longest first, each in a transaction of its own. */
@Injectable()
export class ReconcileWaiting {
  constructor(
    private readonly placements: Placements,
    private readonly placing: PlacingService,
    private readonly outbox: Outbox,
  ) {}

  async reconcile(lease: Lease): Promise<Outcome> {
    const waiting = await this.placements.waiting(atOnce);
    let unanswered = 0;
    for (const { instanceId, traceparent, correlationId, requestId } of waiting) {
      if (lease.signal.aborted) return { again: 0 };
      const cause = { traceparent: traceparent ?? undefined, correlationId, causationId: requestId };
      const answered = await this.outbox.transaction(cause, async (ctx) => {
        await lease.hold(ctx);
        const placement = await this.placements.lock(ctx, instanceId);
        return placement?.state !== 'waiting' || (await this.placing.placeOrDefer(ctx, placement));
      });
      if (!answered) unanswered += 1;
    }
    if (unanswered > 0) return { again: lookAgainMs };
    return waiting.length < atOnce ? 'done' : { again: 0 };
  }
}
