import { Injectable } from '@nestjs/common';
import { InstanceStateChanged, type PayloadOf } from '#contracts/index.js';
import { type ConsumeContext, MessageHandler, TerminalError } from '#messaging/index.js';
import { Besides, Placements } from './ports.js';

/**
 * An instance lives in another footprint than before: that one's place and database are the instance's now, and those
 * of the one before are held beside it until it is removed.
 */
@Injectable()
export class FollowSwitchHandler extends MessageHandler<typeof InstanceStateChanged> {
  constructor(
    private readonly placements: Placements,
    private readonly besides: Besides,
  ) {
    super();
  }

  async handle(now: PayloadOf<typeof InstanceStateChanged>, ctx: ConsumeContext): Promise<void> {
    const { instanceId, footprintId, plan } = now;
    // Nearly always it lives where it lived: that is no reason to keep others from it.
    if ((await this.placements.get(ctx, instanceId))?.footprintId === footprintId) return;
    const placement = await this.placements.lock(ctx, instanceId);
    if (placement?.state !== 'placed' || placement.footprintId === footprintId) return;
    const before = await this.besides.lock(ctx, placement.footprintId!);
    const next = await this.besides.lock(ctx, footprintId);
    if (next?.state !== 'placed' || next.instanceId !== instanceId)
      throw new TerminalError(`instance ${instanceId} lives in footprint ${footprintId}, which has no place here`);

    const { cell, databaseShard } = next;
    await this.besides.save(ctx, { ...next, state: 'lived-in' });
    await this.besides.save(ctx, {
      wish: null,
      plan: null,
      ...before,
      footprintId: placement.footprintId!,
      instanceId,
      cell: placement.cell!,
      databaseShard: placement.databaseShard!,
      state: 'placed',
    });
    await this.placements.save(ctx, { ...placement, footprintId, cell, databaseShard, plan });
  }
}
