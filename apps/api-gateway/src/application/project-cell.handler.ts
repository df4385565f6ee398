import { Injectable } from '@nestjs/common';
import type { CellChanged, PayloadOf } from '#contracts/index.js';
import { type ConsumeContext, MessageHandler } from '#messaging/index.js';
import { Cells } from './ports.js';

/** The last word about a cell is what the read model shows. */
@Injectable()
export class ProjectCellHandler extends MessageHandler<typeof CellChanged> {
  constructor(private readonly cells: Cells) {
    super();
  }

  async handle(cell: PayloadOf<typeof CellChanged>, ctx: ConsumeContext): Promise<void> {
    await this.cells.put(ctx, cell);
  }
}
