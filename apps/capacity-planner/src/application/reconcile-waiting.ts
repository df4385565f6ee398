import { Injectable } from '@nestjs/common';
import { Outbox } from '#messaging/index.js';
import { about, contextOf, forget, inSpan } from '#observability/index.js';
import type { Lease, Outcome } from '#persistence/index.js';
import type { Placement } from '../domain/placement.js';
import { type Lack, lookAgainMs, PlacingService } from './placing.js';
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
    let ahead: Lack | undefined;
    for (const one of waiting) {
      if (lease.signal.aborted) return { again: 0 };
      const { instanceId, traceparent, correlationId: operationId, specification } = one;
      const parent = about({ instanceId, customerId: specification.customerId, operationId }, contextOf(traceparent));
      const lack = await inSpan('place waiting', { parent }, async (span) => {
        const lacking = await this.place(lease, one, ahead);
        if (lacking) forget(span); // it is looked at again and again, for as long as there is no room
        return lacking;
      });
      if (lack) unanswered += 1;
      if (lack?.forAll) ahead = lack;
    }
    if (unanswered > 0) return { again: lookAgainMs };
    return waiting.length < atOnce ? 'done' : { again: 0 };
  }

  /** @returns what it lacks. */
  private async place(
    lease: Lease,
    { instanceId, traceparent, correlationId, requestId }: Placement,
    ahead: Lack | undefined,
  ): Promise<Lack | undefined> {
    const cause = { traceparent: traceparent ?? undefined, correlationId, causationId: requestId };
    return await this.outbox.transaction(cause, async (ctx) => {
      const placement = await this.placements.lock(ctx, instanceId);
      if (placement?.state !== 'waiting') return undefined;
      const lack = await this.placing.placeOrDefer(ctx, placement, ahead);
      // Last, as whoever places at a request asks for this job: cells first, then jobs, or the two would wait for each other.
      await lease.hold(ctx);
      return lack;
    });
  }
}
