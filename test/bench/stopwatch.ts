import type { Measured } from './bench.js';

/** Time on the clock and CPU time of this process, from `start` to `stop`. */
export class Stopwatch {
  private readonly cpu = process.cpuUsage();
  private readonly begun = performance.now();

  /** @returns the rate of `n` things, and what each cost this process. */
  stop(n: number): Measured {
    const seconds = (performance.now() - this.begun) / 1_000;
    const { user, system } = process.cpuUsage(this.cpu);
    return { perSecond: n / seconds, cpuMicrosEach: (user + system) / n };
  }
}
