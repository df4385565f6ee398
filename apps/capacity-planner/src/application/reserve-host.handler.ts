import { Injectable } from '@nestjs/common';
import { HostReservationRefused, HostReservationRequested, HostReserved, type PayloadOf } from '#contracts/index.js';
import { type ConsumeContext, MessageHandler } from '#messaging/index.js';
import { faultOfSlug, slugTaken } from '../domain/host-name.js';
import { notPlaced } from '../domain/placement.js';
import { HostNames, Placements, PlannerSettings } from './ports.js';

/** An instance is to be renamed: hold the new name for it beside the old one, by which it is called until that is given up. */
@Injectable()
export class ReserveHostHandler extends MessageHandler<typeof HostReservationRequested> {
  constructor(
    private readonly placements: Placements,
    private readonly hosts: HostNames,
    private readonly settings: PlannerSettings,
  ) {
    super();
  }

  async handle({ instanceId, slug }: PayloadOf<typeof HostReservationRequested>, ctx: ConsumeContext): Promise<void> {
    const host = `${slug}.${this.settings.domain}`;
    const refusal = await this.take(ctx, instanceId, slug, host);
    if (!refusal) return void (await ctx.publish(HostReserved, { host, instanceId }));
    await ctx.publish(HostReservationRefused, {
      requestId: ctx.message.id,
      instanceId,
      host,
      fault: 'user',
      ...refusal,
    });
  }

  private async take(ctx: ConsumeContext, instanceId: string, slug: string, host: string) {
    const placement = await this.placements.lock(ctx, instanceId);
    if (placement?.state !== 'placed') return notPlaced(placement);
    const fault = faultOfSlug(slug);
    if (fault) return fault;
    return (await this.hosts.take(ctx, host, instanceId)) ? undefined : slugTaken;
  }
}
