import type { IncomingMessage, ServerResponse } from 'node:http';
import { monitorEventLoopDelay } from 'node:perf_hooks';
import { metrics } from '@opentelemetry/api';
import { PrometheusExporter } from '@opentelemetry/exporter-prometheus';
import { resourceFromAttributes } from '@opentelemetry/resources';
import { MeterProvider } from '@opentelemetry/sdk-metrics';

let exporter: PrometheusExporter | undefined;

/**
 * Gives the process its meters, for `/metrics`. Before anything that measures is made: a meter that was made earlier
 * measures nothing for ever. Once per process; a second call changes nothing.
 */
export function startMetrics(service: string): void {
  if (exporter) return;
  exporter = new PrometheusExporter({ preventServerStart: true, withoutScopeInfo: true });
  const resource = resourceFromAttributes({ 'service.name': service });
  metrics.setGlobalMeterProvider(new MeterProvider({ resource, readers: [exporter] }));
  measureProcess();
}

/** What Prometheus reads; nothing before `startMetrics`. */
export function writeMetrics(request: IncomingMessage, response: ServerResponse): void {
  if (exporter) exporter.getMetricsRequestHandler(request, response);
  else response.writeHead(503).end();
}

function measureProcess(): void {
  const meter = metrics.getMeter('mesh.process');
  const delay = monitorEventLoopDelay({ resolution: 10 });
  delay.enable();
  meter
    .createObservableGauge('process.resident.memory.bytes', { description: 'Resident memory.' })
    .addCallback((result) => result.observe(process.memoryUsage.rss()));
  meter
    .createObservableGauge('process.start.time.seconds', { description: 'When the process started, since the epoch.' })
    .addCallback((result) => result.observe(performance.timeOrigin / 1_000));
  meter
    .createObservableGauge('nodejs.heap.used.bytes', { description: 'Of the heap of JavaScript, what is in use.' })
    .addCallback((result) => result.observe(process.memoryUsage().heapUsed));
  meter
    .createObservableCounter('process.cpu.seconds', { description: 'CPU time of user and system.' })
    .addCallback((result) => {
      const { user, system } = process.cpuUsage();
      result.observe((user + system) / 1e6);
    });
  meter
    .createObservableGauge('nodejs.eventloop.delay.seconds', {
      description: 'How late the event loop came round since the last reading: the worst hundredth.',
    })
    .addCallback((result) => {
      result.observe(delay.percentile(99) / 1e9);
      delay.reset();
    });
}
