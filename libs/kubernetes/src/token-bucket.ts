import { performance } from 'node:perf_hooks';

/** Interactive: somebody waits for it. Bulk: everything else. */
export type Priority = 'interactive' | 'bulk';

/**
 * Lets `perSecond` calls through on average and `burst` at once. While calls wait, every interactive one goes before
 * every bulk one, and calls of one priority go in the order they came.
 */
export class TokenBucket {
  private readonly perSecond: number;
  private readonly burst: number;
  private tokens: number;
  private filledAt = performance.now();
  private timer: NodeJS.Timeout | undefined;
  private readonly queues: Record<Priority, Set<() => void>> = { interactive: new Set(), bulk: new Set() };

  constructor({ perSecond, burst }: { readonly perSecond: number; readonly burst: number }) {
    if (!(perSecond > 0) || !(burst >= 1)) throw new Error('a token bucket lets more than nothing through');
    this.perSecond = perSecond;
    this.burst = burst;
    this.tokens = burst;
  }

  /** Resolves when the call may be made. Rejects with the signal's reason; the call then has taken nothing. */
  async take(priority: Priority, signal?: AbortSignal): Promise<void> {
    signal?.throwIfAborted();
    this.fill();
    if (this.waiting === 0 && this.tokens >= 1) {
      this.tokens -= 1;
      return;
    }
    await new Promise<void>((resolve, reject) => {
      const queue = this.queues[priority];
      const giveUp = () => {
        queue.delete(go);
        if (this.waiting === 0) this.rest();
        reject(signal!.reason);
      };
      const go = () => {
        signal?.removeEventListener('abort', giveUp);
        resolve();
      };
      queue.add(go);
      signal?.addEventListener('abort', giveUp, { once: true });
      this.serve();
    });
  }

  get waiting(): number {
    return this.queues.interactive.size + this.queues.bulk.size;
  }

  private fill(): void {
    const now = performance.now();
    this.tokens = Math.min(this.burst, this.tokens + ((now - this.filledAt) / 1_000) * this.perSecond);
    this.filledAt = now;
  }

  private serve(): void {
    this.fill();
    for (const queue of [this.queues.interactive, this.queues.bulk])
      for (const go of queue) {
        if (this.tokens < 1) break;
        this.tokens -= 1;
        queue.delete(go);
        go();
      }
    if (this.waiting === 0 || this.timer) return;
    const untilNextMs = Math.max(1, Math.ceil(((1 - this.tokens) / this.perSecond) * 1_000));
    this.timer = setTimeout(() => {
      this.rest();
      this.serve();
    }, untilNextMs);
  }

  private rest(): void {
    clearTimeout(this.timer);
    this.timer = undefined;
  }
}
