import type { SpanExporter } from '@opentelemetry/sdk-trace';

export type OnTrouble = (what: string, error?: unknown) => void;

/**
 * Between the batches and the collector: one batch after the other, so that what ended first arrives first, and told is
 * when spans begin to be lost and when they arrive again, not each lost batch.
 */
export class SpanExport implements SpanExporter {
  private last: Promise<void> = Promise.resolve();
  private losing = false;

  constructor(
    private readonly exporter: SpanExporter,
    private readonly onTrouble: OnTrouble | undefined,
  ) {}

  /** The collector does not take what it is sent. */
  get inTrouble(): boolean {
    return this.losing;
  }

  /** Resolves when all batches until now were taken, or lost. */
  get settled(): Promise<void> {
    return this.last;
  }

  export(...[spans, done]: Parameters<SpanExporter['export']>): void {
    this.last = this.last.then(
      () =>
        new Promise((resolve) => {
          this.exporter.export(spans, (result) => {
            const failed = result.error !== undefined || result.code !== 0;
            if (failed && !this.losing)
              this.onTrouble?.('spans are lost: the collector does not take them', result.error);
            if (!failed && this.losing) this.onTrouble?.('spans arrive again');
            this.losing = failed;
            resolve();
            done(result);
          });
        }),
    );
  }

  async shutdown(): Promise<void> {
    await this.exporter.shutdown();
  }

  async forceFlush(): Promise<void> {
    await this.exporter.forceFlush?.();
  }
}
