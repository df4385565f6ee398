import { Injectable } from '@nestjs/common';
import { FootprintPlaced, FootprintRefused, FootprintRequested, type PayloadOf } from '#contracts/index.js';
import { type ConsumeContext, MessageHandler } from '#messaging/index.js';
import { findPlan } from '#odoo/index.js';
import { JobQueue } from '#persistence/index.js';
import { type Beside, type FootprintWish, mayStandBeside, mayTakeLastPlace } from '../domain/beside.js';
import { notPlaced, type Placement, sameWish } from '../domain/placement.js';
import { PlacingService, reportWithinMs } from './placing.js';
import { Besides, Cells, DatabaseShards, Placements } from './ports.js';
import { Retirement } from './retirement.js';

interface Refusal {
  readonly code: string;
  readonly fault: 'user' | 'platform';
  readonly message: string;
}

/**
 * An instance's data is to be brought to a place beside it: find one in its cell and on its shard, or else in another. Nobody
 * waits here: where there is no room it is refused, and who asks asks again later.
 */
@Injectable()
export class PlaceFootprintHandler extends MessageHandler<typeof FootprintRequested> {
  constructor(
    private readonly placements: Placements,
    private readonly besides: Besides,
    private readonly cells: Cells,
    private readonly shards: DatabaseShards,
    private readonly placing: PlacingService,
    private readonly retirement: Retirement,
    private readonly jobs: JobQueue,
  ) {
    super();
  }

  async handle(wish: PayloadOf<typeof FootprintRequested>, ctx: ConsumeContext): Promise<void> {
    const { footprintId, instanceId } = wish;
    const placement = await this.placements.lock(ctx, instanceId);
    const known = await this.besides.lock(ctx, footprintId);
    if (known) return await this.answerAgain(ctx, wish, known);
    if (await this.besides.isTaken(ctx, footprintId)) return await this.refuse(ctx, wish, idIsTaken);
    if (!placement || !mayStandBeside(wish.purpose, placement))
      return await this.refuse(ctx, wish, { ...notPlaced(placement), code: 'NOT_PLACED' });
    const plan = planFor(wish, placement);
    if (!plan) return await this.refuse(ctx, wish, unknownPlan);

    const place = await this.findPlace(ctx, wish, placement);
    if ('code' in place) return await this.refuse(ctx, wish, place);
    const beside: Beside = { footprintId, instanceId, wish, plan, ...place, state: 'placed' };
    await this.besides.save(ctx, beside);
    await this.answer(ctx, wish, beside);
    await this.jobs.ask(ctx, { kind: 'cell-report', key: beside.cell, inMs: reportWithinMs });
  }

  /** The same place: whoever asks again has not heard of it. */
  private async answerAgain(ctx: ConsumeContext, wish: FootprintWish, known: Beside): Promise<void> {
    if (!known.wish || !sameWish(known.wish, wish)) return await this.refuse(ctx, wish, idIsTaken);
    if (known.state === 'gone') return await this.refuse(ctx, wish, isGone);
    await this.answer(ctx, wish, known);
  }

  /** The order of the locks is the same for everybody: cell, then shard. */
  private async findPlace(
    ctx: ConsumeContext,
    { purpose }: FootprintWish,
    near: Placement,
  ): Promise<Pick<Beside, 'cell' | 'databaseShard'> | Refusal> {
    const last = mayTakeLastPlace(purpose);
    if (!last && (await this.placements.waiting(1)).length > 0) return noRoom('customers wait for places');
    const cell = await this.cells.reservePlaceNear(ctx, near.cell!, last);
    if (!cell) {
      if (!last) return noRoom('no cell has a place that a customer does not need');
      return noRoom((await this.placing.makePlaces(ctx)).message);
    }
    const shard =
      (await this.shards.reserveDatabase(ctx, [near.databaseShard!])) ??
      (await this.shards.reserveDatabase(
        ctx,
        (await this.shards.all(ctx)).map(({ name }) => name),
      ));
    if (shard) return { cell: cell.id, databaseShard: shard };
    await this.cells.givePlaceBack(ctx, cell.id);
    if (last && (await this.retirement.makeRoom(ctx))) return noRoom('a spare gives its database up');
    return noRoom('no database shard has room');
  }

  private async answer(ctx: ConsumeContext, wish: FootprintWish, beside: Beside): Promise<void> {
    const { footprintId, cell: id, databaseShard, plan } = beside;
    const { namespace } = (await this.cells.all(ctx)).find((one) => one.id === id)!;
    const { purpose, template, instanceId: sourceInstanceId } = wish;
    const place = { cell: id, namespace, databaseShard };
    await ctx.publish(FootprintPlaced, { footprintId, purpose, ...place, template, plan: plan!, sourceInstanceId });
  }

  private async refuse(ctx: ConsumeContext, { footprintId }: FootprintWish, refusal: Refusal): Promise<void> {
    await ctx.publish(FootprintRefused, { requestId: ctx.message.id, footprintId, ...refusal });
  }
}

const idIsTaken: Refusal = {
  code: 'SAME_ID_OTHER_BODY',
  fault: 'user',
  message: 'this footprintId is one of another footprint; a new footprint needs a new id',
};
const isGone: Refusal = {
  code: 'IS_REMOVED',
  fault: 'user',
  message: 'this footprint was made and removed; a new one needs a new id',
};
const unknownPlan: Refusal = {
  code: 'UNKNOWN_PLAN',
  fault: 'user',
  message: 'there is no such plan, or not in this version',
};
const noRoom = (why: string): Refusal => ({
  code: 'NO_ROOM',
  fault: 'platform',
  message: `there is no room now: ${why}`,
});

/** As asked, else the one that the instance is on; undefined: there is none such. */
function planFor(wish: FootprintWish, { plan, specification }: Placement): Beside['plan'] | undefined {
  const { name, version } = wish.plan ?? plan ?? { name: specification.plan, version: undefined };
  const found = findPlan(name, version);
  return found && { name: found.name, version: found.version };
}
