import { isUnavailable } from '#persistence/index.js';

/** So many are done together at most. */
export const batchLimit = 100;
/** While one batch waits for its COMMIT another one works. */
const batchesAtOnce = 2;

interface Waiting<Item, Result> {
  readonly item: Item;
  readonly resolve: (result: Result) => void;
  readonly reject: (error: unknown) => void;
}

export interface BatchesOptions<Item, Result> {
  /** All or nothing. @returns what became of each, in their order. */
  readonly together: (items: readonly Item[]) => Promise<readonly Result[]>;
  readonly alone: (item: Item) => Promise<Result>;
  /** The items are done one by one now. */
  readonly onUndone: (error: unknown, items: number) => void;
}

/**
 * Does together what has come while others were done. Nothing is waited for: where little comes, batches are of one and
 * cost no time; where more comes than can be done one by one, they grow by themselves.
 *
 * A batch that fails says nothing about any of its items, so each is done alone then, in their order, and ends as it would
 * have without a batch. Only where the database is away they all fail alike, and at once.
 */
export class Batches<Item, Result> {
  private waiting: Waiting<Item, Result>[] = [];
  private working = 0;

  constructor(private readonly options: BatchesOptions<Item, Result>) {}

  /** Settles when this item is done, whatever becomes of its neighbours. */
  add(item: Item): Promise<Result> {
    return new Promise((resolve, reject) => {
      this.waiting.push({ item, resolve, reject });
      if (this.working < batchesAtOnce) void this.work();
    });
  }

  private async work(): Promise<void> {
    this.working += 1;
    // What the broker sent in one piece comes first.
    await new Promise(setImmediate);
    while (this.waiting.length > 0) {
      const batch = this.waiting.slice(0, batchLimit);
      this.waiting = this.waiting.slice(batchLimit);
      await this.finish(batch);
    }
    this.working -= 1;
  }

  private async finish(batch: readonly Waiting<Item, Result>[]): Promise<void> {
    try {
      const results = await this.options.together(batch.map(({ item }) => item));
      for (const [index, { resolve }] of batch.entries()) resolve(results[index]!);
    } catch (error) {
      // A batch of one has failed by itself already.
      if (batch.length === 1 || isUnavailable(error)) {
        for (const { reject } of batch) reject(error);
        return;
      }
      this.options.onUndone(error, batch.length);
      await this.finishOneByOne(batch);
    }
  }

  private async finishOneByOne(batch: readonly Waiting<Item, Result>[]): Promise<void> {
    let away: unknown;
    for (const { item, resolve, reject } of batch) {
      if (away) {
        reject(away);
        continue;
      }
      try {
        resolve(await this.options.alone(item));
      } catch (error) {
        reject(error);
        if (isUnavailable(error)) away = error;
      }
    }
  }
}
