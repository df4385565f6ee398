import { metrics } from '@opentelemetry/api';

/**
 * What clients and reflectors tell about themselves, to the meters of the process that runs them. They are looked up
 * when a client is made, so the process sets its meter provider before. Labels are few and bounded: never an object's
 * name or namespace.
 */
export class KubernetesMetrics {
  private readonly meter = metrics.getMeter('kubernetes');

  private readonly calls = this.meter.createHistogram('kubernetes.client.call.seconds', {
    description: 'Each attempt of a call; of a watch, until it began. Code 0: there was no answer.',
    advice: { explicitBucketBoundaries: [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 15, 30] },
  });
  private readonly retries = this.meter.createCounter('kubernetes.client.retries', {
    description: 'Calls that were made again: throttled (429), or a read whose connection broke.',
  });
  private readonly lists = this.meter.createCounter('kubernetes.reflector.lists', {
    description: 'Full lists begun, the first one included.',
  });
  private readonly watchFailures = this.meter.createCounter('kubernetes.reflector.failures', {
    description: 'Lists and watches that ended in an error, by its type.',
  });
  private readonly handlerErrors = this.meter.createCounter('kubernetes.reflector.handler_errors', {
    description: 'Changes whose handler threw.',
  });

  called(verb: string, kind: string, code: number, seconds: number): void {
    this.calls.record(seconds, { verb, kind, code });
  }

  retried(verb: string, kind: string, reason: 'throttled' | 'broken'): void {
    this.retries.add(1, { verb, kind, reason });
  }

  listed(kind: string): void {
    this.lists.add(1, { kind });
  }

  watchFailed(kind: string, error: unknown): void {
    this.watchFailures.add(1, { kind, error: error instanceof Error ? error.name : 'unknown' });
  }

  handlerFailed(kind: string): void {
    this.handlerErrors.add(1, { kind });
  }
}
