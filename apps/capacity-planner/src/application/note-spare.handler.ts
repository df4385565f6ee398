import { Injectable } from '@nestjs/common';
import { FootprintReady, type PayloadOf } from '#contracts/index.js';
import { type ConsumeContext, MessageHandler } from '#messaging/index.js';
import { Spares } from './ports.js';

/** A spare stands: it can be claimed from now on. */
@Injectable()
export class NoteSpareHandler extends MessageHandler<typeof FootprintReady> {
  constructor(private readonly spares: Spares) {
    super();
  }

  async handle({ footprintId }: PayloadOf<typeof FootprintReady>, ctx: ConsumeContext): Promise<void> {
    await this.spares.noteReady(ctx, footprintId);
  }
}
