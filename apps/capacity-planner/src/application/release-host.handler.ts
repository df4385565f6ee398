import { Injectable } from '@nestjs/common';
import { HostReleased, HostReleaseRequested, type PayloadOf } from '#contracts/index.js';
import { type ConsumeContext, MessageHandler, TerminalError } from '#messaging/index.js';
import { releaseOf, restDays } from '../domain/host-name.js';
import { HostNames, Placements } from './ports.js';

/** An instance gives one of its names up: the name rests, and the instance is called by another one that it has. */
@Injectable()
export class ReleaseHostHandler extends MessageHandler<typeof HostReleaseRequested> {
  constructor(
    private readonly placements: Placements,
    private readonly hosts: HostNames,
  ) {
    super();
  }

  async handle({ instanceId, host }: PayloadOf<typeof HostReleaseRequested>, ctx: ConsumeContext): Promise<void> {
    const placement = await this.placements.lock(ctx, instanceId);
    if (!placement) throw new TerminalError(`${host} was not released: instance ${instanceId} is not known here`);
    const release = releaseOf(host, placement.host, await this.hosts.of(ctx, instanceId));
    if (release.kind === 'impossible') throw new TerminalError(`${host} was not released: ${release.why}`);
    if (release.kind === 'release') {
      await this.placements.save(ctx, { ...placement, host: release.main });
      await this.hosts.rest(ctx, host, instanceId, restDays);
    }
    await ctx.publish(HostReleased, { host, instanceId });
  }
}
