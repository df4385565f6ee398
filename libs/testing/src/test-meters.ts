import { metrics } from '@opentelemetry/api';
import { MeterProvider, MetricReader } from '@opentelemetry/sdk-metrics';

/** The process's meters until `remove`, for specs of what is measured. Clients that are made later use them. */
export class TestMeters {
  private readonly reader = new Reader();
  private readonly provider = new MeterProvider({ readers: [this.reader] });

  constructor() {
    metrics.setGlobalMeterProvider(this.provider);
  }

  /** `name label label` → the sum of a counter, or how many values a histogram took. */
  async read(): Promise<Record<string, number>> {
    const { resourceMetrics } = await this.reader.collect();
    const points = resourceMetrics.scopeMetrics.flatMap(({ metrics }) =>
      metrics.flatMap(({ descriptor, dataPoints }) =>
        dataPoints.map(({ attributes, value }): [string, number] => [
          [descriptor.name, ...Object.values(attributes)].join(' '),
          typeof value === 'number' ? value : value.count,
        ]),
      ),
    );
    return Object.fromEntries(points);
  }

  async remove(): Promise<void> {
    metrics.disable();
    await this.provider.shutdown();
  }
}

class Reader extends MetricReader {
  protected override async onForceFlush(): Promise<void> {}
  protected override async onShutdown(): Promise<void> {}
}
