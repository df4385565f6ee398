import { Injectable } from '@nestjs/common';
import {
  type PayloadOf,
  PlacementChanged,
  PlacementChangeRefused,
  PlacementChangeRequested,
} from '#contracts/index.js';
import { type ConsumeContext, MessageHandler } from '#messaging/index.js';
import { findPlan, planNames } from '#odoo/index.js';
import { notPlaced } from '../domain/placement.js';
import { Placements } from './ports.js';

/** An instance is to have another plan. Cells count places and not sizes, so that there is room for any that exists. */
@Injectable()
export class ChangePlacementHandler extends MessageHandler<typeof PlacementChangeRequested> {
  constructor(private readonly placements: Placements) {
    super();
  }

  async handle(wanted: PayloadOf<typeof PlacementChangeRequested>, ctx: ConsumeContext): Promise<void> {
    const { instanceId } = wanted;
    const placement = await this.placements.lock(ctx, instanceId);
    if (placement?.state !== 'placed')
      return void (await ctx.publish(PlacementChangeRefused, { instanceId, ...notPlaced(placement) }));
    const found = findPlan(wanted.plan);
    if (!found) {
      const message = `there is no such plan; there is ${planNames().join(', ')}`;
      const refusal = { instanceId, code: 'unknown-plan', fault: 'user', message } as const;
      return void (await ctx.publish(PlacementChangeRefused, refusal));
    }
    const plan = { name: found.name, version: found.version };
    await this.placements.save(ctx, { ...placement, plan });
    await ctx.publish(PlacementChanged, { instanceId, plan });
  }
}
