import { type Attributes, metrics } from '@opentelemetry/api';
import { Periodic } from './periodic.js';

const lookEveryMs = 10_000;

/** What a gauge shows: one number, or one for each set of labels. */
export type Reading = number | readonly (readonly [number, Attributes])[];

/**
 * Gauges of what has to be asked for, from a database or a broker: asked every ten seconds, and told as it was seen
 * last; nothing is told before it was seen. `mesh_figures_seen_timestamp_seconds` tells when that was, because figures
 * of somebody who cannot look any more stand still and look like good news.
 */
export class Figures<Seen> {
  private readonly meter = metrics.getMeter('mesh.figures');
  private readonly round: Periodic;
  private seen: Seen | undefined;
  /** At first the start: whoever was never able to look is late too. */
  private seenAt = Date.now();

  /** @param ask throws when it cannot be known; what was seen before stands then. */
  constructor(
    what: string,
    ask: () => Promise<Seen>,
    onTrouble: (what: string, error: unknown) => void,
    everyMs = lookEveryMs,
  ) {
    this.round = new Periodic(
      `figures of ${what}`,
      everyMs,
      async () => {
        this.seen = await ask();
        this.seenAt = Date.now();
      },
      onTrouble,
    );
    this.meter
      .createObservableGauge('mesh.figures.seen.timestamp.seconds', {
        description: 'When the figures that have to be asked for were seen last, or the start of the process.',
      })
      .addCallback((result) => result.observe(this.seenAt / 1_000, { figures: what }));
  }

  gauge(name: string, description: string, read: (seen: Seen) => Reading): void {
    this.meter.createObservableGauge(name, { description }).addCallback((result) => {
      if (this.seen === undefined) return;
      const reading = read(this.seen);
      if (typeof reading === 'number') result.observe(reading);
      else for (const [value, labels] of reading) result.observe(value, labels);
    });
  }

  /** The first look comes after the first interval. */
  start(): void {
    this.round.start();
  }

  /** Resolves when a look that is under way has ended. */
  async stop(): Promise<void> {
    await this.round.stop();
  }
}
