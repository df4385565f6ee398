import { Injectable } from '@nestjs/common';
import { FootprintRemoved, type PayloadOf } from '#contracts/index.js';
import { type ConsumeContext, MessageHandler } from '#messaging/index.js';
import { JobQueue } from '#persistence/index.js';
import { Cells, DatabaseShards, Spares } from './ports.js';

/** A spare is gone: what it held is free. */
@Injectable()
export class ReleaseSpareHandler extends MessageHandler<typeof FootprintRemoved> {
  constructor(
    private readonly spares: Spares,
    private readonly cells: Cells,
    private readonly shards: DatabaseShards,
    private readonly jobs: JobQueue,
  ) {
    super();
  }

  async handle({ footprintId }: PayloadOf<typeof FootprintRemoved>, ctx: ConsumeContext): Promise<void> {
    const gone = await this.spares.remove(ctx, footprintId);
    if (!gone) return;
    await this.cells.givePlaceBack(ctx, gone.cell);
    await this.shards.giveDatabaseBack(ctx, gone.databaseShard);
    await this.jobs.ask(ctx, { kind: 'waiting', key: 'placements' });
    await this.jobs.ask(ctx, { kind: 'spares', key: 'pool', priority: 'bulk' });
  }
}
