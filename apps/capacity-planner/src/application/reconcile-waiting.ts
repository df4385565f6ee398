import { Injectable } from '@nestjs/common';
import { Outbox } from '#messaging/index.js';
import { about, contextOf, forget, inSpan } from '#observability/index.js';
import type { Lease, Outcome } from '#persistence/index.js';
import type { Placement } from '../domain/placement.js';
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
    for (const one of waiting) {
      if (lease.signal.aborted) return { again: 0 };
      const { instanceId, traceparent, correlationId: operationId, specification } = one;
      const parent = about({ instanceId, customerId: specification.customerId, operationId }, contextOf(traceparent));
      const answered = await inSpan('place waiting', { parent }, async (span) => {
        const found = await this.place(lease, one);
        if (!found) forget(span); // it is looked at again and again, for as long as there is no room
        return found;
      });
      if (!answered) unanswered += 1;
    }
    if (unanswered > 0) return { again: lookAgainMs };
    return waiting.length < atOnce ? 'done' : { again: 0 };
  }

  /** @returns whether it has its answer. */
  private async place(
    lease: Lease,
    { instanceId, traceparent, correlationId, requestId }: Placement,
  ): Promise<boolean> {
    const cause = { traceparent: traceparent ?? undefined, correlationId, causationId: requestId };
    return await this.outbox.transaction(cause, async (ctx) => {
      await lease.hold(ctx);
      const placement = await this.placements.lock(ctx, instanceId);
      return placement?.state !== 'waiting' || (await this.placing.placeOrDefer(ctx, placement));
    });
  }
}
