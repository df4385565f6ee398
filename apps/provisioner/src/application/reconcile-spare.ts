import { Injectable } from '@nestjs/common';
import { FootprintReady } from '#contracts/index.js';
import { Outbox, type PublishContext } from '#messaging/index.js';
import { forgetThisRun } from '#observability/index.js';
import { footprintNames } from '#odoo/index.js';
import type { Lease, Outcome } from '#persistence/index.js';
import { type Beside, besideOf, type Footprint, isSpare } from '../domain/footprint.js';
import { afterStep, nextAction, type Observed } from '../domain/next-action.js';
import { FootprintSteps } from './footprint-steps.js';
import { Cluster, Footprints, ProvisionerSettings } from './ports.js';

const lookAgainMs = 5_000;

/**
 * Makes a footprint that is nobody's yet: an Odoo that runs on a copy of its template and that nobody can reach. It has no
 * timeline and no deadline: the planner, who wanted it, takes it back when it does not come.
 */
@Injectable()
export class ReconcileSpare {
  constructor(
    private readonly footprints: Footprints,
    private readonly cluster: Cluster,
    private readonly steps: FootprintSteps,
    private readonly outbox: Outbox,
    private readonly settings: ProvisionerSettings,
  ) {}

  async reconcile(lease: Lease, spare: Footprint): Promise<Outcome> {
    this.cluster.watch(spare.placed.namespace);
    let assumed: Observed | undefined;
    let acted = false;
    while (!lease.signal.aborted) {
      const observed = assumed ?? (await this.steps.look(spare, 'spare', lease.signal));
      const action = nextAction(observed, 'spare');
      if (assumed && action?.kind !== 'act') {
        assumed = undefined;
        continue;
      }
      if (!action) return await this.announceReady(lease, spare);
      if (action.kind !== 'act') {
        if (!acted) forgetThisRun();
        if (action.kind === 'fail') throw new Error(`spare ${spare.footprintId}: ${action.message}`);
        return { again: lookAgainMs };
      }
      await this.steps.act(lease, spare, action.step);
      acted = true;
      assumed = afterStep(observed, action.step);
      // Somebody may have it by now, or not want it any more.
      const current = await this.footprints.get(spare.footprintId);
      if (!current || !isSpare(current) || current.state !== 'making') return { again: 0 };
    }
    return { again: 0 };
  }

  private async announceReady(lease: Lease, { footprintId, traceparent, correlationId }: Footprint): Promise<Outcome> {
    const cause = { traceparent: traceparent ?? undefined, correlationId };
    return await this.outbox.transaction(cause, async (ctx): Promise<Outcome> => {
      await lease.hold(ctx);
      const current = await this.footprints.lock(ctx, footprintId);
      if (!current || !isSpare(current) || current.state !== 'making') return { again: 0 };
      await this.footprints.save(ctx, { ...current, state: 'spare' });
      await this.tell(ctx, besideOf(current));
      return 'done';
    });
  }

  private async tell(ctx: PublishContext, placed: Beside): Promise<void> {
    const { database, role, secret, object } = footprintNames(this.settings.meshName, placed.footprintId);
    await ctx.publish(FootprintReady, { ...placed, database, role, secret, volumeClaim: object });
  }
}
