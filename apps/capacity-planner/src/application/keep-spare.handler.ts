import { Injectable } from '@nestjs/common';
import { FootprintRemovalRefused, type PayloadOf } from '#contracts/index.js';
import { type ConsumeContext, MessageHandler } from '#messaging/index.js';
import { Log } from '#observability/index.js';
import { Spares } from './ports.js';

/** A spare that was on its way out is somebody's: it stays, its room stays taken, and somebody has to look at why. */
@Injectable()
export class KeepSpareHandler extends MessageHandler<typeof FootprintRemovalRefused> {
  constructor(
    private readonly spares: Spares,
    private readonly log: Log,
  ) {
    super();
  }

  async handle(refused: PayloadOf<typeof FootprintRemovalRefused>, ctx: ConsumeContext): Promise<void> {
    const { footprintId, code, message } = refused;
    // Others ask for removals too.
    if (await this.spares.isRetiring(ctx, footprintId))
      this.log.warn('a spare was not removed', { footprintId, code, message });
  }
}
