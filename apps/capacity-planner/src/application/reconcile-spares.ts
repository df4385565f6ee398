import { Injectable } from '@nestjs/common';
import { FootprintPlaced, newId } from '#contracts/index.js';
import { Outbox, type PublishContext } from '#messaging/index.js';
import { forgetThisRun } from '#observability/index.js';
import { findPlan } from '#odoo/index.js';
import { JobQueue, type Lease, type Outcome } from '#persistence/index.js';
import type { Cell } from '../domain/placement.js';
import { type Pool, poolChanges } from '../domain/spares.js';
import type { Template } from '../domain/template-choice.js';
import { reportWithinMs } from './placing.js';
import { Cells, DatabaseShards, Placements, PlannerSettings, Spares, Templates } from './ports.js';
import { Retirement } from './retirement.js';

const lookAgainMs = 15_000;
/** Nobody tells us when the last one has its place. */
const customersFirstMs = 500;
/** Whose removal nobody has heard of for so long is asked for again: a lost broker may have taken the request. */
const askAgainMs = 60_000;
/** What does not stand by then is taken back, and another one made: whatever is in its way may be its own. */
const standsWithinMs = 15 * 60_000;

/**
 * Keeps as many running spares at hand as the operator wants. Customers come first: while one waits, and of a cell's last
 * place, none is made.
 */
@Injectable()
export class ReconcileSpares {
  constructor(
    private readonly spares: Spares,
    private readonly placements: Placements,
    private readonly cells: Cells,
    private readonly shards: DatabaseShards,
    private readonly templates: Templates,
    private readonly retirement: Retirement,
    private readonly outbox: Outbox,
    private readonly jobs: JobQueue,
    private readonly settings: PlannerSettings,
  ) {}

  async reconcile(lease: Lease): Promise<Outcome> {
    let changed = 0;
    let customersWait = false;
    await this.outbox.transaction({}, async (ctx) => {
      const [cells, templates] = [await this.cells.all(ctx), await this.templates.all(ctx)];
      const { make, retire } = poolChanges(
        this.settings.spares,
        cells,
        templates,
        (name) => findPlan(name)?.version,
        await this.spares.free(ctx),
      );
      for (const { footprintId } of retire)
        if (await this.retirement.retire(ctx, footprintId, 'it is not wanted any more')) changed += 1;
      for (const { footprintId } of await this.spares.overdue(ctx, 'asked', standsWithinMs))
        if (await this.retirement.retire(ctx, footprintId, 'it did not come in time')) changed += 1;
      for (const { footprintId } of await this.spares.overdue(ctx, 'retiring', askAgainMs))
        await this.retirement.askAgain(ctx, footprintId);
      customersWait = (await this.placements.waiting(1)).length > 0;
      if (!customersWait) for (const pool of make) if (await this.make(ctx, pool, cells, templates)) changed += 1;
      // Last: who claims a spare asks for this job, so spares and cells first, then jobs, or the two would wait for each other.
      await lease.hold(ctx);
    });
    if (changed === 0) forgetThisRun();
    return { again: customersWait ? customersFirstMs : lookAgainMs };
  }

  /** @returns false when there is no room that a spare may take. */
  private async make(
    ctx: PublishContext,
    pool: Pool,
    cells: readonly Cell[],
    templates: readonly Template[],
  ): Promise<boolean> {
    const { cell: id, databaseShard, templateDatabase, plan, planVersion } = pool;
    const cell = cells.find((one) => one.id === id)!;
    const template = templates.find((one) => one.databaseShard === databaseShard && one.database === templateDatabase)!;
    if (!(await this.cells.reserveSparePlace(ctx, id))) return false;
    if (!(await this.shards.reserveDatabase(ctx, [databaseShard]))) {
      await this.cells.givePlaceBack(ctx, id);
      return false;
    }
    const footprintId = newId();
    await this.spares.add(ctx, { ...pool, footprintId, state: 'asked' });
    const { image, version, bundle, language, database } = template;
    await ctx.publish(FootprintPlaced, {
      footprintId,
      purpose: 'spare',
      cell: id,
      namespace: cell.namespace,
      databaseShard,
      template: { image, version, bundle, language, database },
      plan: { name: plan, version: planVersion },
    });
    await this.jobs.ask(ctx, { kind: 'cell-report', key: id, inMs: reportWithinMs });
    return true;
  }
}
