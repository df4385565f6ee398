import { test } from '@jest/globals';
import { readConfig } from '#local/config.js';
import { findPrometheus, whyNoPrometheus } from '#local/packages.js';
import type { PrometheusTools } from '#local/prometheus.js';

const config = readConfig();
const missing = whyNoPrometheus(config);

/** Where there is no Prometheus the tests that need one are skipped and say why; in CI they fail. */
export const withoutPrometheus = missing !== undefined && !config.ci;

/** A test that needs Prometheus or promtool. */
export function prometheusTest(name: string, run: () => Promise<void>): void {
  if (withoutPrometheus) test.skip(`${name} (skipped: ${missing})`, run);
  else test(name, run);
}

/** Throws when there is none. */
export function prometheusTools(): PrometheusTools {
  const tools = findPrometheus(config);
  if (!tools) throw new Error(`this test needs Prometheus: ${missing}`);
  return tools;
}
