/**
 * Work that comes again for as long as the service runs: pruning, asking again, looking at figures. Never twice at the
 * same time; not at the same moment in all replicas; an error is told and the next round comes all the same.
 */
export class Periodic {
  private timer: NodeJS.Timeout | undefined;
  private running: Promise<void> = Promise.resolve();
  private stopped = true;

  constructor(
    private readonly what: string,
    private readonly everyMs: number,
    private readonly work: () => Promise<unknown>,
    private readonly onTrouble: (what: string, error: unknown) => void,
  ) {}

  /** The first round comes after the first interval. */
  start(): void {
    this.stopped = false;
    this.wait();
  }

  /** Resolves when a round that runs has ended. */
  async stop(): Promise<void> {
    this.stopped = true;
    clearTimeout(this.timer);
    await this.running;
  }

  private wait(): void {
    if (this.stopped) return;
    this.timer = setTimeout(
      () => {
        this.running = this.round().then(() => this.wait());
      },
      this.everyMs * (0.75 + Math.random() / 2),
    ).unref();
  }

  private async round(): Promise<void> {
    try {
      await this.work();
    } catch (error) {
      if (!this.stopped) this.onTrouble(`${this.what}: not done this time`, error);
    }
  }
}
