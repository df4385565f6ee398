import { Injectable } from '@nestjs/common';
import { FootprintRemovalRequested } from '#contracts/index.js';
import type { PublishContext } from '#messaging/index.js';
import { Spares } from './ports.js';

/** How a spare comes to its end. All of it in the caller's transaction. */
@Injectable()
export class Retirement {
  constructor(private readonly spares: Spares) {}

  /** From now on nobody can claim it. @returns false when somebody has already, or it is on its way out. */
  async retire(ctx: PublishContext, footprintId: string, reason: string): Promise<boolean> {
    if (!(await this.spares.retire(ctx, footprintId))) return false;
    await ctx.publish(FootprintRemovalRequested, { footprintId, reason });
    return true;
  }

  /** Any one of them: spares are the first to give way when somebody lacks room. @returns false when there is none. */
  async makeRoom(ctx: PublishContext): Promise<boolean> {
    // Somebody else who lacks room at the same time may have taken the first of them.
    for (const { footprintId } of await this.spares.free(ctx))
      if (await this.retire(ctx, footprintId, 'a customer needs its place')) return true;
    return false;
  }

  async askAgain(ctx: PublishContext, footprintId: string): Promise<void> {
    await this.spares.noteAsked(ctx, footprintId);
    await ctx.publish(FootprintRemovalRequested, { footprintId, reason: 'asked again: nobody said that it is gone' });
  }
}
