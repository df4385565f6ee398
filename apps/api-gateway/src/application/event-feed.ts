import { Periodic } from '#persistence/index.js';
import { type EventFilter, Timeline, type TimelineEvent } from './ports.js';

const lookEveryMs = 250;
const pageSize = 200;

/** What a follower gets: events in order, or the place up to which there are none for it. */
export type Fed = { readonly events: readonly TimelineEvent[]; readonly upTo: string };

/** All facts about instances in one order, for followers who come and go. */
export class EventFeed {
  private last = '0';
  private closed = false;
  private wake = Promise.withResolvers<void>();
  private readonly ordering: Periodic;

  constructor(
    private readonly timeline: Timeline,
    onTrouble: (what: string, error: unknown) => void,
  ) {
    this.ordering = new Periodic('order of events', lookEveryMs, () => this.look(), onTrouble);
  }

  start(): void {
    this.ordering.start();
  }

  /** Every follower comes to an end, and so does whoever comes now. */
  async close(): Promise<void> {
    this.closed = true;
    this.wake.resolve();
    await this.ordering.stop();
  }

  /** The place of the newest event. */
  async newest(): Promise<string> {
    await this.look();
    return this.last;
  }

  /**
   * What comes after this place, at once and then for as long as it is asked for, each event once. Nothing is read ahead
   * of the follower. Ends when `signal` is aborted or the feed is closed; yields an empty page when there was nothing
   * for `idleMs`.
   */
  async *follow(after: string, filter: EventFilter, idleMs: number, signal: AbortSignal): AsyncGenerator<Fed> {
    let place = after;
    while (!signal.aborted && !this.closed) {
      const { promise: changed } = this.wake;
      const upTo = this.last;
      if (BigInt(place) < BigInt(upTo)) {
        const events = await this.timeline.events(place, upTo, filter, pageSize);
        place = events.length < pageSize ? upTo : events.at(-1)!.id;
        if (events.length > 0) yield { events, upTo: place };
      } else if (!(await happened(changed, idleMs, signal))) yield { events: [], upTo: place };
    }
  }

  private async look(): Promise<void> {
    const last = await this.timeline.putInOrder();
    if (last === this.last) return;
    this.last = last;
    this.wake.resolve();
    this.wake = Promise.withResolvers();
  }
}

/** False: it did not in that time. */
async function happened(event: Promise<void>, withinMs: number, signal: AbortSignal): Promise<boolean> {
  const limit = Promise.withResolvers<false>();
  const timer = setTimeout(() => limit.resolve(false), withinMs);
  const give = () => limit.resolve(false);
  signal.addEventListener('abort', give, { once: true });
  try {
    return await Promise.race([event.then(() => true), limit.promise]);
  } finally {
    clearTimeout(timer);
    signal.removeEventListener('abort', give);
  }
}
