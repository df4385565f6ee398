import { expect, test } from '@jest/globals';
import type { TraceSpan } from './trace.js';
import { traceTree } from './trace-tree.js';

const span = (
  spanId: string,
  parentId: string | undefined,
  name: string,
  more: Partial<TraceSpan> = {},
): TraceSpan => ({
  traceId: 't',
  spanId,
  parentId,
  service: 'planner',
  process: 'p',
  name,
  startUs: 1_000_000,
  durationUs: 1_500,
  attributes: {},
  events: '[]',
  error: undefined,
  ...more,
});

test('a trace is shown as a tree with times, services, keys, attempts and errors', () => {
  const key = { 'messaging.rabbitmq.destination.routing_key': 'instance.placed.v1' };
  const lines = traceTree([
    span('a', 'of a caller', 'receive'),
    span('b', 'a', 'reconcile', { service: 'gateway', startUs: 1_020_000, durationUs: 25_000 }),
    span('c', 'b', 'step', { startUs: 1_021_000, error: 'no room', attributes: { 'mesh.attempt': 2 } }),
    span('d', 'a', 'send', { startUs: 1_050_000, attributes: { ...key, 'mesh.attempt': 1, 'mesh.step': 'role' } }),
  ]);
  expect(lines).toEqual([
    '   0.0 ms  receive      planner     1.5 ms',
    '    20 ms  ├ reconcile  gateway      25 ms',
    '    21 ms  │ └ step     planner     1.5 ms  attempt 2  ✗ no room',
    '    50 ms  └ send       planner     1.5 ms  instance.placed  role',
  ]);
});
