import type { Phase, UpContext } from './phase.js';
import { say } from './terminal.js';
import { readTrace, type TraceSpan } from './trace.js';
import { traceTree } from './trace-tree.js';
import { waitUntil } from './wait.js';

/** Shows what Jaeger has of the first instance's making. */
export const firstTrace: Phase = { title: 'Its trace, read back from Jaeger', run: showTrace };

/** Services send what ended every second. */
const quietForMs = 1_500;

async function showTrace({ env, made }: UpContext): Promise<void> {
  if (!env?.MESH_JAEGER_URL || !made?.traceId) return say('  There is no Jaeger to ask.');
  const { MESH_JAEGER_URL: url } = env;
  const { traceId } = made;
  let spans: TraceSpan[] = [];
  let since = Date.now();
  await waitUntil(
    `Jaeger at ${url} has no whole trace ${traceId}`,
    async () => {
      const now = await readTrace(url, traceId);
      if (now.length !== spans.length) since = Date.now();
      spans = now;
      return heardOfTheEnd(spans) && Date.now() - since > quietForMs;
    },
    { withinMs: 20_000 },
  );
  for (const line of traceTree(spans)) say(line);
  const services = new Set(spans.map(({ service }) => service)).size;
  say(`\n  ${spans.length} spans of ${services} services: ${url}/api/v3/traces/${traceId}`);
}

function heardOfTheEnd(spans: readonly TraceSpan[]): boolean {
  return spans.some(
    ({ name, attributes }) =>
      name === 'process api-gateway.facts' &&
      attributes['messaging.rabbitmq.destination.routing_key'] === 'instance.ready.v1',
  );
}
