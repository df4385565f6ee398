import { expect, test } from '@jest/globals';
import { spanContextOf, traceparentOf } from './traceparent.js';

const trace = '4bf92f3577b34da6a3ce929d0e0e4736';
const span = '00f067aa0ba902b7';

test('a traceparent is read and written back', () => {
  const context = spanContextOf(`00-${trace}-${span}-01`);
  expect(context).toEqual({ traceId: trace, spanId: span, traceFlags: 1, isRemote: true });
  expect(traceparentOf(context!)).toBe(`00-${trace}-${span}-01`);
});

test.each([
  ['nothing', undefined],
  ['a number', 7],
  ['upper case', `00-${trace.toUpperCase()}-${span}-01`],
  ['a trace of zeros', `00-${'0'.repeat(32)}-${span}-01`],
  ['a span of zeros', `00-${trace}-${'0'.repeat(16)}-01`],
  ['version ff', `ff-${trace}-${span}-01`],
  ['more than version 00 has', `00-${trace}-${span}-01-more`],
  ['a line break', `00-${trace}-${span}-01\r\nX-Evil: 1`],
])('%s is no context', (_, value) => {
  expect(spanContextOf(value)).toBeUndefined();
});

test('a later version is read by what it shares with this one', () => {
  expect(spanContextOf(`01-${trace}-${span}-01-more`)?.traceId).toBe(trace);
});
