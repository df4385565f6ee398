import { Injectable } from '@nestjs/common';
import { BackupSnapshotsRemoved } from '#contracts/index.js';
import { Outbox } from '#messaging/index.js';
import type { Lease, Outcome } from '#persistence/index.js';
import { CellFiles, Instances } from './ports.js';

const lookAgainMs = 1_000;

/** A volume whose destruction was approved keeps no snapshot; then its maker may go on. */
@Injectable()
export class ReconcileSnapshots {
  constructor(
    private readonly instances: Instances,
    private readonly files: CellFiles,
    private readonly outbox: Outbox,
  ) {}

  async reconcile(lease: Lease): Promise<Outcome> {
    const purge = await this.instances.purge(lease.key);
    if (!purge) return 'done';
    const { namespace, footprintId, instanceId, approvalId, traceparent, correlationId } = purge;
    await lease.check();
    if (!(await this.files.removeSnapshots({ namespace, footprintId }, lease.fence))) return { again: lookAgainMs };
    await this.outbox.transaction({ traceparent: traceparent ?? undefined, correlationId }, async (ctx) => {
      await lease.hold(ctx);
      await this.instances.forgetPurge(ctx, approvalId);
      await ctx.publish(BackupSnapshotsRemoved, { instanceId, footprintId, approvalId });
    });
    return 'done';
  }
}
