/** A cell as the planner told of it last. */
export interface Cell {
  readonly cell: string;
  readonly namespace: string;
  /** Takes new instances. */
  readonly open: boolean;
  readonly places: number;
  readonly reserved: number;
  readonly free: number;
  readonly shards: readonly string[];
  readonly updatedAt: Date;
}

/** How much room there is. */
export interface Capacity {
  readonly cells: number;
  readonly openCells: number;
  readonly places: number;
  readonly reserved: number;
  /** In open cells. */
  readonly free: number;
  /** Accepted, and without a place. */
  readonly waiting: { readonly instances: number; readonly since: Date | null };
}

export function capacityOf(cells: readonly Cell[], waiting: Capacity['waiting']): Capacity {
  const sum = (of: readonly Cell[], count: (cell: Cell) => number) => of.reduce((total, one) => total + count(one), 0);
  const open = cells.filter((cell) => cell.open);
  return {
    cells: cells.length,
    openCells: open.length,
    places: sum(cells, (cell) => cell.places),
    reserved: sum(cells, (cell) => cell.reserved),
    free: sum(open, (cell) => cell.free),
    waiting,
  };
}
