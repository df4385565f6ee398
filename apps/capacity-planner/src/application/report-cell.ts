import { Injectable } from '@nestjs/common';
import { CellChanged } from '#contracts/index.js';
import { Outbox } from '#messaging/index.js';
import type { Lease, Outcome } from '#persistence/index.js';
import { Cells, DatabaseShards } from './ports.js';

/** Tells the others how full a cell is. A job, so that a burst of placements is told once and not once each. */
@Injectable()
export class ReportCell {
  constructor(
    private readonly cells: Cells,
    private readonly shards: DatabaseShards,
    private readonly outbox: Outbox,
  ) {}

  async reconcile(lease: Lease): Promise<Outcome> {
    await this.outbox.transaction({ traceparent: lease.traceparent }, async (ctx) => {
      await lease.hold(ctx);
      const cell = (await this.cells.all(ctx)).find((one) => one.id === lease.key);
      if (!cell) return;
      await ctx.publish(CellChanged, {
        cell: cell.id,
        namespace: cell.namespace,
        open: cell.state === 'open',
        places: cell.places,
        reserved: cell.reserved,
        shards: (await this.shards.all(ctx)).map(({ name }) => name),
      });
    });
    return 'done';
  }
}
