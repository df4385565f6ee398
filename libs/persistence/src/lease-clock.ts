/** A moment by both of our clocks. */
export interface Moment {
  readonly monotonic: number;
  readonly wall: number;
}

export function thisMoment(): Moment {
  return { monotonic: performance.now(), wall: Date.now() };
}

/**
 * Until when a lease is surely held, by our own clocks: counted from before the database was asked, so the database's
 * own time is never earlier. Two clocks, because each can stand still: the monotonic one while the machine sleeps, the
 * wall's while somebody sets it back. Whichever says that the time is over is believed.
 */
export class LeaseClock {
  private since: Moment;
  private forMs: number;

  /** @param asked the moment before the database was asked. */
  constructor(asked: Moment, forMs: number) {
    this.since = asked;
    this.forMs = forMs;
  }

  get hasRunOut(): boolean {
    const { monotonic, wall } = thisMoment();
    return monotonic - this.since.monotonic >= this.forMs || wall - this.since.wall >= this.forMs;
  }

  /** The database said, asked at that moment, that the lease is held for so long from then on. */
  heldFor(asked: Moment, forMs: number): void {
    this.since = asked;
    this.forMs = forMs;
  }
}
