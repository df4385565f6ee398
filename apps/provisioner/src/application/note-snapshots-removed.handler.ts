import { Injectable } from '@nestjs/common';
import { BackupSnapshotsRemoved, type PayloadOf } from '#contracts/index.js';
import { type ConsumeContext, MessageHandler } from '#messaging/index.js';
import { JobQueue } from '#persistence/index.js';
import { Footprints } from './ports.js';

/** No snapshot is left of a volume that is to go: now it can. This may be heard before the approval. */
@Injectable()
export class NoteSnapshotsRemovedHandler extends MessageHandler<typeof BackupSnapshotsRemoved> {
  constructor(
    private readonly footprints: Footprints,
    private readonly jobs: JobQueue,
  ) {
    super();
  }

  async handle(removed: PayloadOf<typeof BackupSnapshotsRemoved>, ctx: ConsumeContext): Promise<void> {
    const { footprintId, approvalId } = removed;
    const footprint = await this.footprints.lock(ctx, footprintId);
    if (!footprint || footprint.state === 'removed') return;
    await this.footprints.save(ctx, { ...footprint, snapshotsGone: approvalId });
    if (footprint.state === 'removing') await this.jobs.ask(ctx, { kind: 'footprint', key: footprintId });
  }
}
