import { Injectable } from '@nestjs/common';
import { HostReservationRefused, HostReservationRequested, HostReserved, type PayloadOf } from '#contracts/index.js';
import { type ConsumeContext, MessageHandler, TerminalError } from '#messaging/index.js';
import { faultOfCustomDomains } from '#odoo/index.js';
import { domainTaken, faultOfSlug, type HeldName, slugTaken } from '../domain/host-name.js';
import { notPlaced } from '../domain/placement.js';
import { HostNames, Placements, PlannerSettings } from './ports.js';

type Wanted = PayloadOf<typeof HostReservationRequested>;
type Name = Pick<HeldName, 'host' | 'custom'>;

/**
 * An instance is to be found at other names: hold them for it beside those that it has, by one of which it is called until
 * that is given up. All that it asks for, or none.
 */
@Injectable()
export class ReserveHostHandler extends MessageHandler<typeof HostReservationRequested> {
  constructor(
    private readonly placements: Placements,
    private readonly hosts: HostNames,
    private readonly settings: PlannerSettings,
  ) {
    super();
  }

  async handle(wanted: Wanted, ctx: ConsumeContext): Promise<void> {
    const { instanceId } = wanted;
    const { id: requestId } = ctx.message;
    const names = this.namesOf(wanted);
    if (names.length === 0) throw new TerminalError(`instance ${instanceId} asks for no name`);
    const refusal = await this.take(ctx, wanted, names);
    if (refusal)
      return void (await ctx.publish(HostReservationRefused, { requestId, instanceId, fault: 'user', ...refusal }));
    for (const { host } of names) await ctx.publish(HostReserved, { host, instanceId, requestId });
  }

  private namesOf({ slug, customDomains = [] }: Wanted): Name[] {
    const below = slug === undefined ? [] : [{ host: `${slug}.${this.settings.domain}`, custom: false }];
    return [...below, ...customDomains.map((host) => ({ host, custom: true }))];
  }

  private async take(ctx: ConsumeContext, { instanceId, slug, customDomains = [] }: Wanted, names: readonly Name[]) {
    const { host } = names[0]!;
    const placement = await this.placements.lock(ctx, instanceId);
    if (placement?.state !== 'placed') return { host, ...notPlaced(placement) };
    const { domain } = this.settings;
    const fault = (slug === undefined ? undefined : faultOfSlug(slug)) ?? faultOfCustomDomains(customDomains, domain);
    if (fault) return { host, ...fault };
    const taken = await this.hosts.takeAll(ctx, names, instanceId, ctx.message.id);
    if (taken === undefined) return undefined;
    return { host: taken, ...(customDomains.includes(taken) ? domainTaken(taken) : slugTaken) };
  }
}
