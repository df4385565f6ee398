import { Injectable } from '@nestjs/common';
import { InstanceStateChanged, type PayloadOf } from '#contracts/index.js';
import { type ConsumeContext, MessageHandler, TerminalError } from '#messaging/index.js';
import { becomesHome, leftBehind } from '../domain/residence.js';
import { Footprints } from './ports.js';

/**
 * Lifecycle says in which footprint an instance lives: that one is not removed but by the instance's purge, and one that it
 * was switched away from can be.
 */
@Injectable()
export class NoteResidenceHandler extends MessageHandler<typeof InstanceStateChanged> {
  constructor(private readonly footprints: Footprints) {
    super();
  }

  async handle(now: PayloadOf<typeof InstanceStateChanged>, ctx: ConsumeContext): Promise<void> {
    const { instanceId, footprintId, state } = now;
    // Nearly always it lives where it lived.
    if (await this.footprints.isKnown(ctx, now)) return;
    const footprint = await this.footprints.lock(ctx, footprintId);
    if (!footprint) {
      // That it was placed may come later than this. The first state is followed by others, which say the same.
      if (state === 'provisioning') return;
      throw new Error(`footprint ${footprintId} is not known here yet`);
    }
    const home = becomesHome(now, footprint);
    if (!home) throw new TerminalError(`instance ${instanceId} cannot live in ${footprintId}, which is another's`);
    await this.footprints.save(ctx, home);
    for (const other of await this.footprints.lockOthers(ctx, instanceId, footprintId))
      await this.footprints.save(ctx, leftBehind(other));
  }
}
