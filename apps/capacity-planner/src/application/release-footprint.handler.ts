import { Injectable } from '@nestjs/common';
import { FootprintRemoved, type PayloadOf } from '#contracts/index.js';
import { type ConsumeContext, MessageHandler } from '#messaging/index.js';
import { JobQueue } from '#persistence/index.js';
import type { Beside } from '../domain/beside.js';
import { Besides, Cells, DatabaseShards, Placements, Spares } from './ports.js';

/** A footprint that no instance lived in is gone: what it held is free. */
@Injectable()
export class ReleaseFootprintHandler extends MessageHandler<typeof FootprintRemoved> {
  constructor(
    private readonly spares: Spares,
    private readonly besides: Besides,
    private readonly placements: Placements,
    private readonly cells: Cells,
    private readonly shards: DatabaseShards,
    private readonly jobs: JobQueue,
  ) {
    super();
  }

  async handle({ footprintId }: PayloadOf<typeof FootprintRemoved>, ctx: ConsumeContext): Promise<void> {
    const gone = (await this.spares.remove(ctx, footprintId)) ?? (await this.endBeside(ctx, footprintId));
    if (!gone) return;
    await this.cells.givePlaceBack(ctx, gone.cell);
    await this.shards.giveDatabaseBack(ctx, gone.databaseShard);
    await this.jobs.ask(ctx, { kind: 'waiting', key: 'placements' });
    await this.jobs.ask(ctx, { kind: 'spares', key: 'pool', priority: 'bulk' });
  }

  /** @returns undefined when nothing is held for it. */
  private async endBeside(ctx: ConsumeContext, footprintId: string): Promise<Beside | undefined> {
    const beside = await this.besides.lock(ctx, footprintId);
    if (beside?.state !== 'placed') {
      // Where an instance lives is another service's word, and may come later than this; then this comes again.
      if (await this.placements.isLivedIn(ctx, footprintId))
        throw new Error(`footprint ${footprintId} is gone, and an instance lives in it as far as is known here`);
      return undefined;
    }
    await this.besides.save(ctx, { ...beside, state: 'gone' });
    await this.besides.forgetGone(ctx);
    return beside;
  }
}
