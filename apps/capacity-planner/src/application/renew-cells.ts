import { Injectable } from '@nestjs/common';
import { Database, JobQueue } from '#persistence/index.js';
import { Cells } from './ports.js';

/**
 * What a cell consists of changes from version to version of the mesh, and routes name objects that cells must have: so
 * every cell is applied again at the start. Several processes that start at once ask for the same jobs.
 */
@Injectable()
export class RenewCells {
  constructor(
    private readonly database: Database,
    private readonly cells: Cells,
    private readonly jobs: JobQueue,
  ) {}

  async renew(): Promise<void> {
    await this.database.transaction(async (tx) => {
      for (const { id } of await this.cells.all(tx)) await this.jobs.ask(tx, { kind: 'cell', key: id });
    });
  }
}
