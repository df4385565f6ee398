import { Controller } from '@nestjs/common';
import { z } from 'zod';
import { Cells, InstanceViews } from '../application/ports.js';
import { capacityOf } from '../domain/cell.js';
import { Problem } from './problem.js';
import type { Call } from './route.js';
import { Serves } from './serves.js';
import { Capacity, Cell } from './shapes.js';

const right = { role: 'viewer', scope: 'platform' } as const;

const List = {
  id: 'listCells',
  method: 'get',
  path: '/v1/cells',
  summary: 'All cells with their places',
  right,
  status: 200,
  answer: z.strictObject({ items: z.array(Cell) }),
  problems: [],
} as const;

const One = {
  id: 'getCell',
  method: 'get',
  path: '/v1/cells/{cell}',
  summary: 'One cell',
  right,
  params: z.strictObject({ cell: z.string().regex(/^[!-~]{1,64}$/) }),
  status: 200,
  answer: Cell,
  problems: ['unknown-cell'],
} as const;

const Room = {
  id: 'getCapacity',
  method: 'get',
  path: '/v1/capacity',
  summary: 'How much room there is, and who waits for some',
  right,
  status: 200,
  answer: Capacity,
  problems: [],
} as const;

/** Read-only: the planner decides about cells. */
@Controller()
export class CellsController {
  constructor(
    private readonly cells: Cells,
    private readonly views: InstanceViews,
  ) {}

  @Serves(List)
  async list(_: Call<typeof List>) {
    return { items: await this.cells.all() };
  }

  @Serves(One)
  async one({ params }: Call<typeof One>) {
    const found = (await this.cells.all()).find(({ cell }) => cell === params.cell);
    if (!found) throw new Problem('unknown-cell');
    return found;
  }

  @Serves(Room)
  async room(_: Call<typeof Room>) {
    return capacityOf(await this.cells.all(), await this.views.waiting());
  }
}
