import { Injectable } from '@nestjs/common';
import { HostReleased, InstanceTerminated, type PayloadOf } from '#contracts/index.js';
import { type ConsumeContext, MessageHandler } from '#messaging/index.js';
import { JobQueue } from '#persistence/index.js';
import { restDays } from '../domain/host-name.js';
import { Besides, Cells, DatabaseShards, HostNames, Placements } from './ports.js';

/** An instance came to its end: its place is free, and its host names rest, but for domains of its customer's. */
@Injectable()
export class ReleasePlacementHandler extends MessageHandler<typeof InstanceTerminated> {
  constructor(
    private readonly placements: Placements,
    private readonly hosts: HostNames,
    private readonly besides: Besides,
    private readonly cells: Cells,
    private readonly shards: DatabaseShards,
    private readonly jobs: JobQueue,
  ) {
    super();
  }

  async handle({ instanceId }: PayloadOf<typeof InstanceTerminated>, ctx: ConsumeContext): Promise<void> {
    const placement = await this.placements.lock(ctx, instanceId);
    if (placement?.state !== 'placed') return;
    await this.placements.save(ctx, { ...placement, state: 'ended' });
    const beside = await this.besides.lock(ctx, placement.footprintId!);
    if (beside) await this.besides.save(ctx, { ...beside, state: 'gone' });
    await this.cells.givePlaceBack(ctx, placement.cell!);
    await this.shards.giveDatabaseBack(ctx, placement.databaseShard!);
    for (const { host, rests, custom } of await this.hosts.of(ctx, instanceId)) {
      if (rests) continue;
      if (custom) await this.hosts.release(ctx, host, instanceId);
      else await this.hosts.rest(ctx, host, instanceId, restDays);
      await ctx.publish(HostReleased, { host, instanceId, ...(custom && { atOnce: true }) });
    }
    await this.jobs.ask(ctx, { kind: 'waiting', key: 'placements' });
  }
}
