import { jest } from '@jest/globals';

/** Both clocks of the process, which stand still until the test moves them. Timers go on as ever. */
export class TestClock {
  private monotonic = 1_000_000;
  private wall = Date.UTC(2026, 0, 1);

  constructor() {
    jest.spyOn(performance, 'now').mockImplementation(() => this.monotonic);
    jest.spyOn(Date, 'now').mockImplementation(() => this.wall);
  }

  /** By default both by the same; they differ while a machine sleeps, or when somebody sets the time. */
  move(monotonicMs: number, wallMs = monotonicMs): void {
    this.monotonic += monotonicMs;
    this.wall += wallMs;
  }

  /** They go as before. */
  restore(): void {
    jest.restoreAllMocks();
  }
}
