import { Injectable } from '@nestjs/common';
import { Outbox } from '#messaging/index.js';
import { JobQueue, type Lease, type Outcome } from '#persistence/index.js';
import { Cells, Cluster } from './ports.js';

/** Makes the cluster's side of a cell as libs/odoo describes it; then the cell is open, and who waits is placed. */
@Injectable()
export class ReconcileCell {
  constructor(
    private readonly cells: Cells,
    private readonly cluster: Cluster,
    private readonly outbox: Outbox,
    private readonly jobs: JobQueue,
  ) {}

  async reconcile(lease: Lease): Promise<Outcome> {
    const cell = await this.cells.get(lease.key);
    if (!cell) return 'done';
    await lease.check();
    await this.cluster.applyCell(cell, lease.fence);
    if (cell.state !== 'opening') return 'done';
    await this.outbox.transaction({ traceparent: lease.traceparent }, async (ctx) => {
      await lease.hold(ctx);
      await this.cells.open(ctx, cell.id);
      await this.jobs.ask(ctx, { kind: 'cell-report', key: cell.id, priority: 'interactive' });
      await this.jobs.ask(ctx, { kind: 'waiting', key: 'placements', priority: 'interactive' });
      await this.jobs.ask(ctx, { kind: 'spares', key: 'pool', priority: 'bulk' });
    });
    return 'done';
  }
}
