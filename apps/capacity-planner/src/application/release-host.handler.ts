import { Injectable } from '@nestjs/common';
import { HostReleased, HostReleaseRequested, HostReserved, type PayloadOf } from '#contracts/index.js';
import { type ConsumeContext, MessageHandler, TerminalError } from '#messaging/index.js';
import { releaseOf, restDays } from '../domain/host-name.js';
import { HostNames, Placements } from './ports.js';

/**
 * An instance gives one of its names up: the name rests, and the instance is called by another one that it has. A domain of
 * its customer's does not rest, so who gives it up says which reservation is meant: one that was made since is kept.
 */
@Injectable()
export class ReleaseHostHandler extends MessageHandler<typeof HostReleaseRequested> {
  constructor(
    private readonly placements: Placements,
    private readonly hosts: HostNames,
  ) {
    super();
  }

  async handle(
    { instanceId, host, reservation }: PayloadOf<typeof HostReleaseRequested>,
    ctx: ConsumeContext,
  ): Promise<void> {
    const placement = await this.placements.lock(ctx, instanceId);
    if (!placement) throw new TerminalError(`${host} was not released: instance ${instanceId} is not known here`);
    const release = releaseOf(host, placement.host, await this.hosts.of(ctx, instanceId), reservation);
    if (release.kind === 'impossible') throw new TerminalError(`${host} was not released: ${release.why}`);
    if (release.kind === 'release') {
      await this.placements.save(ctx, { ...placement, host: release.main });
      await this.hosts.rest(ctx, host, instanceId, restDays);
    }
    if (release.kind === 'kept')
      return void (await ctx.publish(HostReserved, { host, instanceId, requestId: release.reservation }));
    if (release.kind === 'free') await this.hosts.release(ctx, host, instanceId);
    await ctx.publish(HostReleased, { host, instanceId, ...(release.kind === 'free' && { atOnce: true }) });
  }
}
