import { OTLPTraceExporter } from '@opentelemetry/exporter-trace-otlp-http';
import { NodeSDK } from '@opentelemetry/sdk-node';
import { BatchSpanProcessor } from '@opentelemetry/sdk-trace';

/**
 * Exports the service's spans to an OTLP/HTTP collector (`http://host:4318`). Without an endpoint nothing is exported
 * and nothing is slower; messages carry their context on either way.
 * @returns what flushes the last spans; it never throws, because a collector that is away must not spoil a stop.
 */
export function startTracing(options: { service: string; endpoint?: string | undefined }): () => Promise<void> {
  if (!options.endpoint) return async () => {};
  const sdk = new NodeSDK({
    serviceName: options.service,
    // Detected resources would put the command line and the owner of the process into every export.
    autoDetectResources: false,
    instrumentations: [],
    spanProcessors: [
      new BatchSpanProcessor({ exporter: new OTLPTraceExporter({ url: `${options.endpoint}/v1/traces` }) }),
    ],
  });
  sdk.start();
  return () => sdk.shutdown().catch(() => {});
}
